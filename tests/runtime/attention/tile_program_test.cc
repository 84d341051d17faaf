#include "runtime/attention/tile_program.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {
namespace {

constexpr ScheduleCosts kBackwardCosts{2.5, 2, 2, 1, 2, 1, false};

std::vector<MeshShape> some_shapes() {
  std::vector<MeshShape> shapes;
  for (const char* text : {"1x1", "1x7", "7x1", "3x3", "2x4", "4x3", "(2.3)x2", "3x(3.2)", "(2.2)x(2.4)",
                           "(4.1)x2", "u2:3x2", "8x8"}) {
    shapes.push_back(parse_mesh_shape(text).value());
  }
  return shapes;
}

TEST(TileProgram, ExampleOfTheHeader) {
  const TileProgram program(Pass::kForward, MeshShape::mesh(4, 2), {}, ChunkMask(8), 0);
  for (const TileTransfer& t : program.transfers()) {
    ASSERT_EQ(t.sends.size(), 1U);
    ASSERT_EQ(t.receives.size(), 1U);
    if (t.op != TransferOp{Transfer::kSendRow, 1}) continue;
    EXPECT_EQ(t.sends[0].peer.value, 3);
    EXPECT_EQ(t.sends[0].slot, 1);
    EXPECT_EQ(t.receives[0].peer.value, 1);
    EXPECT_EQ(t.receives[0].slot, 2);
    EXPECT_EQ(t.traffic, Traffic::kPartialOut);
  }
  EXPECT_EQ(program.transfers().size(), 3U + 1U + 3U);
  EXPECT_EQ(program.blocks(), program.schedule().blocks);
}

/// Every pair of chunks with this probability, and always a chunk with itself.
ChunkMask random_mask(int chunks, double density, std::uint64_t seed) {
  ChunkMask mask(chunks);
  for (int q = 0; q < chunks; ++q) {
    for (int k = 0; k < chunks; ++k) {
      const auto at = static_cast<std::uint64_t>(q * chunks + k);
      mask.set(Chunk(q), Chunk(k), q == k || uniform(seed, at) < density);
    }
  }
  return mask;
}

/// What one member sends in an op is what another expects: same peer, tag and chunk, all around both rings;
/// under the full mask one message each way in every op.
TEST(TileProgram, SendsMeetTheirReceives) {
  for (const MeshShape& shape : some_shapes()) {
    for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
      for (const double density : {1.0, 0.5, 0.15, 0.0}) {
        const ChunkMask mask = random_mask(shape.super_ranks(), density, 1);
        const int a = shape.a();
        // (row ring?, ring number, from, to, tag) -> chunk, as ring index of its owner
        std::map<std::tuple<bool, int, int, int, int>, int> sent;
        std::map<std::tuple<bool, int, int, int, int>, int> received;
        for (int g = 0; g < shape.super_ranks(); ++g) {
          const int u = g / a;
          const int v = g % a;
          const TileProgram program(pass, shape, kBackwardCosts, mask, g);
          for (const TileTransfer& t : program.transfers()) {
            const bool row = on_row_ring(t.op.kind);
            const RingPath path(row ? shape.q : shape.kv, row ? v : u);
            const int ring = row ? u : v;
            const int self = row ? v : u;
            if (density == 1.0) {
              EXPECT_EQ(t.sends.size(), 1U);
              EXPECT_EQ(t.receives.size(), 1U);
            }
            for (const TileMessage& m : t.sends) {
              EXPECT_TRUE(
                  sent.try_emplace({row, ring, self, m.peer.value, t.tag}, path.owner(m.slot)).second);
            }
            for (const TileMessage& m : t.receives) {
              EXPECT_TRUE(
                  received.try_emplace({row, ring, m.peer.value, self, t.tag}, path.owner(m.slot)).second);
            }
          }
        }
        EXPECT_EQ(sent, received) << to_string(shape) << ", density " << density;
      }
    }
  }
}

/// Every partial received is added exactly once; inner before outer; never to a slot that has left already.
TEST(TileProgram, AdditionsInTheirOrder) {
  for (const MeshShape& shape : some_shapes()) {
    for (const double density : {1.0, 0.4, 0.1}) {
      const ChunkMask mask = random_mask(shape.super_ranks(), density, 2);
      const int g = shape.super_ranks() / 2;
      const TileProgram program(Pass::kBackward, shape, kBackwardCosts, mask, g);
      std::set<std::pair<std::size_t, std::size_t>> added;
      std::size_t arrivals = 0;
      for (const TileTransfer& t : program.transfers())
        arrivals += is_send(t.op.kind) ? t.receives.size() : 0;
      for (const bool row : {true, false}) {
        const RingShape ring = row ? shape.q : shape.kv;
        const int self = row ? g % shape.a() : g / shape.a();
        for (int slot = 0; slot < ring.size(); ++slot) {
          bool outer_seen = false;
          for (const TileArrival& arrival : program.additions(row, slot)) {
            EXPECT_TRUE(added.emplace(arrival.transfer, arrival.receive).second);
            const TileTransfer& t = program.transfers()[arrival.transfer];
            const TileMessage& message = t.receives[arrival.receive];
            EXPECT_EQ(message.slot, slot);
            const bool outer = message.peer.value / ring.inner != self / ring.inner;
            EXPECT_FALSE(outer_seen && !outer);
            outer_seen = outer;
            for (std::size_t j = 0; slot > 0 && j <= arrival.transfer; ++j) {
              const TransferOp leaves{row ? Transfer::kSendRow : Transfer::kSendColumn, slot};
              EXPECT_NE(program.transfers()[j].op, leaves) << to_string(shape);
            }
          }
        }
      }
      EXPECT_EQ(added.size(), arrivals);
      if (density == 1.0) {
        EXPECT_EQ(arrivals, static_cast<std::size_t>(shape.a() - 1 + shape.b() - 1));
      }
    }
  }
}

/// A flat ring holds at most two partials that wait, however long it is; no ring holds more than it has
/// sends.
TEST(TileProgram, StagingIsSmall) {
  for (const int n : {2, 4, 16, 64}) {
    for (const MeshShape& shape : {MeshShape::mesh(n, 1), MeshShape::mesh(n, n), MeshShape::ring(n)}) {
      for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
        const TileProgram program(pass, shape, pass == Pass::kForward ? ScheduleCosts{} : kBackwardCosts,
                                  ChunkMask(shape.super_ranks()), 0);
        EXPECT_LE(program.staging(true), 2) << to_string(shape);
        EXPECT_LE(program.staging(false), 2) << to_string(shape);
        EXPECT_EQ(program.staging(true) > 0, shape.a() > 1);
        EXPECT_EQ(program.staging(false) > 0, shape.b() > 1 && pass == Pass::kBackward);
      }
    }
  }
  const TileProgram nested(Pass::kBackward, parse_mesh_shape("(4.8)x8").value(), kBackwardCosts,
                           ChunkMask(256), 35);
  EXPECT_LE(nested.staging(true), 4 + 2);
}

}  // namespace
}  // namespace tessera::runtime
