#include "runtime/attention/ring_messages.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"

namespace tessera::runtime {
namespace {

/// Every slot used with this probability.
RingUse random_use(RingShape shape, double density, std::uint64_t seed) {
  RingUse use(shape, false);
  for (int owner = 0; owner < shape.size(); ++owner) {
    for (int p = 0; p < shape.size(); ++p) {
      use.set(owner, p, uniform(seed, static_cast<std::uint64_t>(owner * shape.size() + p)) < density);
    }
  }
  return use;
}

const std::vector<RingShape>& some_rings() {
  static const std::vector<RingShape> rings = {{1, 1}, {1, 2}, {1, 7}, {2, 3},
                                               {3, 2}, {4, 1}, {3, 4}, {5, 5}};
  return rings;
}

TEST(RingMessages, ExampleOfTheHeader) {
  RingUse use({1, 5}, false);
  use.set(4, 2, true);
  use.set(4, 3, true);
  const std::vector<RingMessage> expected = {{false, 2, 4, 4, 2, 0, 2, false},
                                             {false, 3, 4, 2, 1, 2, 3, false},
                                             {true, 2, 4, 2, 1, 2, 3, false},
                                             {true, 3, 4, 1, 4, 3, 0, false}};
  const auto key = [](const RingMessage& m) { return std::tuple(m.back, m.op_slot); };
  std::vector<RingMessage> found = ring_messages(use);
  std::ranges::sort(found, {}, key);
  EXPECT_EQ(found, expected);
}

/// With all slots used the messages are the hops of RingPath, one by one.
TEST(RingMessages, TheFullRingIsRingPath) {
  for (const RingShape& shape : some_rings()) {
    using Key = std::tuple<bool, int, int, int, int, int, bool>;
    std::set<Key> expected;
    for (int self = 0; self < shape.size(); ++self) {
      const RingPath path(shape, self);
      for (int p = 0; p < shape.size(); ++p) EXPECT_EQ(ring_holder(shape, path.owner(p), p), self);
      for (int p = 1; p < shape.size(); ++p) {
        const RingHop out = path.receive(p);
        expected.insert({false, p, out.from, self, out.source_slot, p, out.outer});
        const RingHop back = path.send_back(p);
        expected.insert({true, p, self, back.to, p, path.merge_slot(p), back.outer});
      }
    }
    std::set<Key> found;
    for (const RingMessage& m : ring_messages(RingUse(shape))) {
      EXPECT_TRUE(found.insert({m.back, m.op_slot, m.from, m.to, m.from_slot, m.to_slot, m.outer}).second);
    }
    EXPECT_EQ(found, expected) << shape.outer << "." << shape.inner;
  }
}

/// Each member that needs a chunk receives it once and nobody else does but the entrances of inner groups; an
/// inner group is entered once and left once. On a flat ring that is the least possible.
TEST(RingMessages, NothingTravelsForNothing) {
  for (const RingShape& shape : some_rings()) {
    for (const double density : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        const RingUse use = random_use(shape, density, seed);
        std::vector<std::vector<int>> received(static_cast<std::size_t>(shape.size()),
                                               std::vector<int>(static_cast<std::size_t>(shape.size()), 0));
        auto shipped = received;
        int outer[2] = {0, 0};
        for (const RingMessage& m : ring_messages(use)) {
          const auto owner = static_cast<std::size_t>(m.owner);
          EXPECT_EQ(m.from, ring_holder(shape, m.owner, m.from_slot));
          EXPECT_EQ(m.to, ring_holder(shape, m.owner, m.to_slot));
          EXPECT_EQ(m.outer, m.from / shape.inner != m.to / shape.inner);
          if (m.outer) {
            EXPECT_EQ(m.from % shape.inner, m.to % shape.inner);
            ++outer[m.back ? 1 : 0];
          }
          if (m.back) {
            EXPECT_EQ(m.op_slot, m.from_slot);
            ++shipped[owner][static_cast<std::size_t>(m.from_slot)];
          } else {
            EXPECT_EQ(m.op_slot, m.to_slot);
            EXPECT_LT(m.from_slot, m.to_slot);
            ++received[owner][static_cast<std::size_t>(m.to_slot)];
          }
        }
        int groups = 0;
        for (int owner = 0; owner < shape.size(); ++owner) {
          for (int o = 0; o < shape.outer; ++o) {
            bool entered = false;
            for (int i = 0; i < shape.inner; ++i) entered = entered || use.used(owner, o * shape.inner + i);
            groups += entered && o > 0 ? 1 : 0;
            for (int i = 0; i < shape.inner; ++i) {
              const int p = o * shape.inner + i;
              const int wanted = p > 0 && (use.used(owner, p) || (i == 0 && entered)) ? 1 : 0;
              EXPECT_EQ(received[static_cast<std::size_t>(owner)][static_cast<std::size_t>(p)], wanted);
              EXPECT_EQ(shipped[static_cast<std::size_t>(owner)][static_cast<std::size_t>(p)], wanted);
            }
          }
        }
        EXPECT_EQ(outer[0], groups);
        // Each group's partials leave it once, the last for home.
        EXPECT_EQ(outer[1], groups);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::runtime
