#include "runtime/attention/ring_messages.h"

#include "algos/base/require.h"

namespace tessera::runtime {

bool RingUse::visited(int owner, int p) const {
  if (p == 0 || used(owner, p)) return true;
  if (p % shape_.inner != 0) return false;
  for (int i = 1; i < shape_.inner; ++i) {
    if (used(owner, p + i)) return true;
  }
  return false;
}

RingUse ring_use(const MeshShape& shape, const ChunkMask& mask, bool rows, int ring) {
  TS_REQUIRE(mask.chunks() == shape.super_ranks(), mask.chunks(), shape.super_ranks());
  const int a = shape.a();
  const int b = shape.b();
  RingUse use(rows ? shape.q : shape.kv, false);
  const int size = use.shape().size();
  for (int owner = 0; owner < size; ++owner) {
    const int chunk = rows ? ring * a + owner : owner * a + ring;
    for (int p = 0; p < size; ++p) {
      const int holder = ring_holder(use.shape(), owner, p);
      bool used = false;
      if (rows) {  // the holder's columns: the chunks congruent to its q_index
        for (int t = 0; t < b && !used; ++t) used = mask.sees(Chunk(chunk), Chunk(t * a + holder));
      } else {  // the holder's rows: the chunks of its Q group
        for (int t = 0; t < a && !used; ++t) used = mask.sees(Chunk(holder * a + t), Chunk(chunk));
      }
      use.set(owner, p, used);
    }
  }
  return use;
}

int ring_holder(RingShape shape, int owner, int p) {
  TS_REQUIRE(p >= 0 && p < shape.size() && owner >= 0 && owner < shape.size(), owner, p);
  const int group = (owner / shape.inner + shape.outer - p / shape.inner) % shape.outer;
  const int member = (owner % shape.inner + shape.inner - p % shape.inner) % shape.inner;
  return group * shape.inner + member;
}

namespace {

/// Calls keep(message) for each message of the ring.
template <class Keep>
void walk_ring(const RingUse& use, const Keep& keep) {
  const RingShape& shape = use.shape();
  for (int owner = 0; owner < shape.size(); ++owner) {
    const int owner_group = owner / shape.inner;
    const int owner_member = owner % shape.inner;
    const auto holder = [&](int o, int i) {  // ring_holder without its divisions
      const int group = owner_group - o + (owner_group < o ? shape.outer : 0);
      const int member = owner_member - i + (owner_member < i ? shape.inner : 0);
      return group * shape.inner + member;
    };
    struct Slot {
      int o = 0;
      int i = 0;
    };
    const auto add = [&](bool back, Slot from, Slot to, bool outer) {
      const int from_slot = from.o * shape.inner + from.i;
      const int to_slot = to.o * shape.inner + to.i;
      keep(RingMessage{back, back ? from_slot : to_slot, owner, holder(from.o, from.i), holder(to.o, to.i),
                       from_slot, to_slot, outer});
    };
    int entered = 0;  // the last inner group visited
    for (int o = 0; o < shape.outer; ++o) {
      if (!use.visited(owner, o * shape.inner)) continue;
      const Slot entrance{o, 0};
      if (o > 0) add(false, {entered, 0}, entrance, true);
      // Inside the group: out along the used slots, back along the same ones and round to the entrance.
      Slot last = entrance;
      for (int i = 1; i < shape.inner; ++i) {
        if (!use.used(owner, o * shape.inner + i)) continue;
        add(false, last, {o, i}, false);
        if (last.i > 0) add(true, last, {o, i}, false);
        last = {o, i};
      }
      if (last.i > 0) add(true, last, entrance, false);
      // Across groups the partial gathers the same way; the group that is last sends it home.
      if (o > 0 && entered > 0) add(true, {entered, 0}, entrance, true);
      entered = o;
    }
    if (entered > 0) add(true, {entered, 0}, {0, 0}, true);
  }
}

}  // namespace

std::vector<RingMessage> ring_messages(const RingUse& use) {
  std::vector<RingMessage> messages;
  walk_ring(use, [&](const RingMessage& message) { messages.push_back(message); });
  return messages;
}

std::vector<RingMessage> ring_messages(const RingUse& use, int self) {
  std::vector<RingMessage> messages;
  walk_ring(use, [&](const RingMessage& message) {
    if (message.from == self || message.to == self) messages.push_back(message);
  });
  return messages;
}

}  // namespace tessera::runtime
