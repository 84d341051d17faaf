#include "runtime/attention/tile_assignment.h"

#include "algos/base/require.h"

namespace tessera::runtime {

RingPath::RingPath(RingShape shape, int self) : shape_(shape), self_(self) {
  TS_REQUIRE(shape.outer >= 1 && shape.inner >= 1, shape.outer, shape.inner);
  TS_REQUIRE(self >= 0 && self < shape.size(), self, shape.outer, shape.inner);
}

int RingPath::owner(int p) const {
  TS_REQUIRE(p >= 0 && p < shape_.size(), p, shape_.outer, shape_.inner);
  const int group = (self_ / shape_.inner + p / shape_.inner) % shape_.outer;
  const int member = (self_ % shape_.inner + p % shape_.inner) % shape_.inner;
  return group * shape_.inner + member;
}

RingHop RingPath::receive(int p) const {
  TS_REQUIRE(p >= 1 && p < shape_.size(), p, shape_.outer, shape_.inner);
  const int group = self_ / shape_.inner;
  const int member = self_ % shape_.inner;
  RingHop hop;
  hop.outer = p % shape_.inner == 0;
  if (hop.outer) {  // slot (o, 0) comes from slot (o - 1, 0) of the next inner group
    hop.from = (group + 1) % shape_.outer * shape_.inner + member;
    hop.to = (group + shape_.outer - 1) % shape_.outer * shape_.inner + member;
    hop.source_slot = p - shape_.inner;
  } else {  // slot (o, i) comes from slot (o, i - 1) of the next member of the same inner group
    hop.from = group * shape_.inner + (member + 1) % shape_.inner;
    hop.to = group * shape_.inner + (member + shape_.inner - 1) % shape_.inner;
    hop.source_slot = p - 1;
  }
  return hop;
}

RingHop RingPath::send_back(int k) const {
  // A partial takes the links its chunk came by, in the same direction: rows then fall due in the order in
  // which they arrived, which is what lets sends overlap receives.
  RingHop hop = receive(k);
  hop.source_slot = k;
  return hop;
}

int RingPath::merge_slot(int k) const {
  TS_REQUIRE(k >= 1 && k < shape_.size(), k, shape_.outer, shape_.inner);
  const int o = k / shape_.inner;
  const int i = k % shape_.inner;
  if (i == 0) return (o + 1) % shape_.outer * shape_.inner;
  return o * shape_.inner + (i + 1) % shape_.inner;
}

std::vector<int> RingPath::merged_before(int k) const {
  TS_REQUIRE(k >= 0 && k < shape_.size(), k, shape_.outer, shape_.inner);
  const int o = k / shape_.inner;
  const int i = k % shape_.inner;
  std::vector<int> slots;
  if (i >= 2) slots.push_back(k - 1);
  if (i == 0) {
    if (shape_.inner >= 2) slots.push_back(k + shape_.inner - 1);
    const int before = (o + shape_.outer - 1) % shape_.outer;
    if (before >= 1) slots.push_back(before * shape_.inner);
  }
  return slots;
}

int TileAssignment::owner(Chunk q, Chunk kv) const {
  return shape_.a() * (q.value / shape_.a()) + kv.value % shape_.a();
}

std::vector<int> TileAssignment::q_group(int super_rank) const {
  std::vector<int> group;
  for (int t = 0; t < shape_.a(); ++t) group.push_back(kv_index(super_rank) * shape_.a() + t);
  return group;
}

std::vector<int> TileAssignment::kv_group(int super_rank) const {
  std::vector<int> group;
  for (int t = 0; t < shape_.b(); ++t) group.push_back(t * shape_.a() + q_index(super_rank));
  return group;
}

Chunk TileAssignment::row_chunk(int super_rank, Row p) const {
  const int owner = RingPath(shape_.q, q_index(super_rank)).owner(p.value);
  return Chunk(kv_index(super_rank) * shape_.a() + owner);
}

Chunk TileAssignment::column_chunk(int super_rank, Column q) const {
  const int owner = RingPath(shape_.kv, kv_index(super_rank)).owner(q.value);
  return Chunk(owner * shape_.a() + q_index(super_rank));
}

}  // namespace tessera::runtime
