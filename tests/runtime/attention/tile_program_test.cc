#include "runtime/attention/tile_program.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

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
  const TileProgram program(Pass::kForward, MeshShape::mesh(4, 2), {}, 0, 0);
  for (const TileTransfer& t : program.transfers()) {
    if (t.op != TransferOp{Transfer::kSendRow, 1}) continue;
    EXPECT_EQ(t.to.value, 3);
    EXPECT_EQ(t.from.value, 1);
    EXPECT_EQ(t.sent_slot, 1);
    EXPECT_EQ(t.received_slot, 2);
    EXPECT_EQ(t.traffic, Traffic::kPartialOut);
  }
  EXPECT_EQ(program.transfers().size(), 3U + 1U + 3U);
}

/// What one member sends in an op is what another expects: same peer, tag and chunk, all around both rings.
TEST(TileProgram, SendsMeetTheirReceives) {
  for (const MeshShape& shape : some_shapes()) {
    for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
      const int a = shape.a();
      const int b = shape.b();
      // (row ring?, ring number, from, to, tag) -> chunk, as ring index of its owner
      std::map<std::tuple<bool, int, int, int, int>, int> sent;
      std::map<std::tuple<bool, int, int, int, int>, int> received;
      for (int u = 0; u < b; ++u) {
        for (int v = 0; v < a; ++v) {
          const TileProgram program(pass, shape, kBackwardCosts, v, u);
          for (const TileTransfer& t : program.transfers()) {
            const bool row = on_row_ring(t.op.kind);
            const RingPath path(row ? shape.q : shape.kv, row ? v : u);
            const int ring = row ? u : v;
            const int self = row ? v : u;
            EXPECT_TRUE(
                sent.try_emplace({row, ring, self, t.to.value, t.tag}, path.owner(t.sent_slot)).second);
            EXPECT_TRUE(
                received.try_emplace({row, ring, t.from.value, self, t.tag}, path.owner(t.received_slot))
                    .second);
          }
        }
      }
      EXPECT_EQ(sent, received) << to_string(shape);
    }
  }
}

/// Every send is added exactly once; inner before outer; never to a slot that has left already.
TEST(TileProgram, AdditionsInTheirOrder) {
  for (const MeshShape& shape : some_shapes()) {
    const TileProgram program(Pass::kBackward, shape, kBackwardCosts, 0, 0);
    std::multiset<std::size_t> added;
    for (const bool row : {true, false}) {
      for (int slot = 0; slot < (row ? shape.a() : shape.b()); ++slot) {
        bool outer_seen = false;
        for (const std::size_t i : program.additions(row, slot)) {
          added.insert(i);
          const TileTransfer& t = program.transfers()[i];
          EXPECT_EQ(t.received_slot, slot);
          const bool outer = RingPath(row ? shape.q : shape.kv, 0).send_back(t.op.slot).outer;
          EXPECT_FALSE(outer_seen && !outer);
          outer_seen = outer;
          for (std::size_t j = 0; slot > 0 && j <= i; ++j) {
            const TransferOp leaves{row ? Transfer::kSendRow : Transfer::kSendColumn, slot};
            EXPECT_NE(program.transfers()[j].op, leaves) << to_string(shape);
          }
        }
      }
    }
    EXPECT_EQ(added.size(), static_cast<std::size_t>(2 * (shape.a() - 1) / 2 + shape.b() - 1));
    EXPECT_EQ(added.size(), std::set<std::size_t>(added.begin(), added.end()).size());
  }
}

/// A flat ring holds at most two partials that wait, however long it is; no ring holds more than it has
/// sends.
TEST(TileProgram, StagingIsSmall) {
  for (const int n : {2, 4, 16, 64}) {
    for (const MeshShape& shape : {MeshShape::mesh(n, 1), MeshShape::mesh(n, n), MeshShape::ring(n)}) {
      for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
        const TileProgram program(pass, shape, pass == Pass::kForward ? ScheduleCosts{} : kBackwardCosts, 0,
                                  0);
        EXPECT_LE(program.staging(true), 2) << to_string(shape);
        EXPECT_LE(program.staging(false), 2) << to_string(shape);
        EXPECT_EQ(program.staging(true) > 0, shape.a() > 1);
        EXPECT_EQ(program.staging(false) > 0, shape.b() > 1 && pass == Pass::kBackward);
      }
    }
  }
  const TileProgram nested(Pass::kBackward, parse_mesh_shape("(4.8)x8").value(), kBackwardCosts, 3, 1);
  EXPECT_LE(nested.staging(true), 4 + 2);
}

}  // namespace
}  // namespace tessera::runtime
