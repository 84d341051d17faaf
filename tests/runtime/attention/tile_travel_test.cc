#include "runtime/attention/tile_travel.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {
namespace {

constexpr Pass kPasses[] = {Pass::kForward, Pass::kBackward};
constexpr ScheduleCosts kBackwardCosts{2.5, 2, 2, 1, 2, 1, false};

std::vector<MeshShape> some_shapes() {
  std::vector<MeshShape> shapes;
  for (const char* text : {"1x1", "1x6", "6x1", "3x3", "2x4", "(2.3)x2", "2x(3.2)", "(2.2)x(2.3)", "(4.1)x2",
                           "(3.3)x1", "5x5"}) {
    shapes.push_back(parse_mesh_shape(text).value());
  }
  return shapes;
}

ChunkMask random_mask(int chunks, double density, std::uint64_t seed) {
  ChunkMask mask(chunks);
  for (int q = 0; q < chunks; ++q) {
    for (int k = 0; k < chunks; ++k) {
      mask.set(Chunk(q), Chunk(k), uniform(seed, static_cast<std::uint64_t>(q * chunks + k)) < density);
    }
  }
  return mask;
}

/// Any mask at all on any shape, flat or hierarchical on either side, under the greedy list and the planned
/// one: everything arrives, every sum is whole, at home, once.
TEST(CheckTravel, RandomMasksOnEveryShape) {
  for (const MeshShape& shape : some_shapes()) {
    for (const Pass pass : kPasses) {
      TileSchedule greedy = greedy_schedule(pass, shape, kBackwardCosts);
      (void)simulate(greedy, kBackwardCosts);
      for (const TileSchedule& schedule : {plan_schedule(pass, shape, kBackwardCosts), greedy}) {
        for (const double density : {0.0, 0.05, 0.2, 0.5, 0.9, 1.0}) {
          for (std::uint64_t seed = 0; seed < 4; ++seed) {
            const Status status = check_travel(schedule, random_mask(shape.super_ranks(), density, seed));
            ASSERT_TRUE(status.ok()) << status.message() << ", density " << density << ", seed " << seed;
          }
        }
      }
    }
  }
}

/// Lists drawn at random among the legal ones serve random masks as well.
TEST(CheckTravel, RandomLegalLists) {
  for (const MeshShape& shape : some_shapes()) {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      const TransferRules rules(Pass::kBackward, shape);
      TransferState state(rules);
      TileSchedule schedule{Pass::kBackward, shape, {}, {}};
      while (!state.done()) {
        const std::vector<TransferOp> legal = state.legal_ops();
        const double draw = uniform(derive_key(seed, 9), schedule.transfers.size());
        const TransferOp op = legal[static_cast<std::size_t>(draw * static_cast<double>(legal.size()))];
        state.issue(op);
        schedule.transfers.push_back(op);
      }
      (void)simulate(schedule, kBackwardCosts);
      const Status status = check_travel(schedule, random_mask(shape.super_ranks(), 0.3, seed));
      ASSERT_TRUE(status.ok()) << status.message() << " " << to_string(schedule);
    }
  }
}

TEST(CheckTravel, RefusesAListOutOfOrder) {
  TileSchedule schedule = plan_schedule(Pass::kForward, MeshShape::mesh(3, 3), {});
  std::swap(schedule.transfers.front(), schedule.transfers.back());
  EXPECT_FALSE(check_travel(schedule, ChunkMask(9)).ok());
  // Block (2, 0) before the row that leaves first: a list whose sends wait for a receive behind them.
  schedule = {Pass::kForward,
              MeshShape::mesh(3, 1),
              {{Transfer::kReceiveRow, 1},
               {Transfer::kSendRow, 1},
               {Transfer::kReceiveRow, 2},
               {Transfer::kSendRow, 2}},
              {{1, 0}, {2, 0}, {0, 0}}};
  EXPECT_TRUE(check_travel(schedule, ChunkMask(3)).ok());
  schedule.blocks = {{2, 0}, {1, 0}, {0, 0}};
  EXPECT_FALSE(check_travel(schedule, ChunkMask(3)).ok());
}

/// With the full mask every rank follows the timeline of the schedule.
TEST(SimulateRank, TheFullMaskIsTheSchedule) {
  for (const MeshShape& shape : some_shapes()) {
    for (const Pass pass : kPasses) {
      for (const bool two_lanes : {false, true}) {
        ScheduleCosts costs = kBackwardCosts;
        costs.two_lanes = two_lanes;
        costs.outer_factor = 3;
        TileSchedule schedule = plan_schedule(pass, shape, costs);
        const ScheduleTimeline expected = simulate(schedule, costs);
        for (const int rank : {0, shape.super_ranks() - 1}) {
          const ScheduleTimeline found = simulate_rank(schedule, costs, ChunkMask(shape.super_ranks()), rank);
          EXPECT_DOUBLE_EQ(found.makespan, expected.makespan) << to_string(shape);
          EXPECT_DOUBLE_EQ(found.compute_idle, expected.compute_idle) << to_string(shape);
          for (std::size_t i = 0; i < expected.transfers.size(); ++i) {
            EXPECT_DOUBLE_EQ(found.transfers[i].start, expected.transfers[i].start);
            EXPECT_DOUBLE_EQ(found.transfers[i].end, expected.transfers[i].end);
          }
        }
      }
    }
  }
}

/// A window of one chunk on a ring of 16: two blocks of work and one hop instead of sixteen and fifteen.
TEST(SimulateRank, AWindowOnARingByHand) {
  const MeshShape shape = MeshShape::ring(16);
  ChunkMask mask(16);
  for (int q = 0; q < 16; ++q) {
    for (int k = 0; k < 16; ++k) mask.set(Chunk(q), Chunk(k), k == q || k == q - 1);
  }
  const ScheduleCosts costs{1, 1, 2, 1, 2, 1, false};  // a hop of K and V takes two blocks
  const TileSchedule schedule = plan_schedule(Pass::kForward, shape, costs);
  EXPECT_DOUBLE_EQ(simulate_rank(schedule, costs, ChunkMask(16), 3).makespan, 31);  // 15 hops, then a block
  // Rank 3 receives chunk 2 while it computes its own block; rank 0 has its own block alone, and sends.
  EXPECT_DOUBLE_EQ(simulate_rank(schedule, costs, mask, 3).makespan, 3);
  EXPECT_DOUBLE_EQ(simulate_rank(schedule, costs, mask, 3).compute_idle, 1);
  EXPECT_DOUBLE_EQ(simulate_rank(schedule, costs, mask, 0).makespan, 2);
}

}  // namespace
}  // namespace tessera::runtime
