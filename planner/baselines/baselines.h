/// What established systems would do with the same devices, as Plans for the same check, estimate and
/// simulator.
///
/// Megatron-like: symmetric plans (Narayanan et al. 2021, arXiv:2104.04473). Every group has the same depth,
/// the same cuts and the same number of micro-batches, whatever its devices. The space is everything its user
/// could configure: tensor-parallel degree, depth, micro-batch size, recomputation, which device types to use
/// at all, their order in the list of ranks, and whether pipeline stages are the outer or the inner dimension
/// of it.
///
/// Whale-like: groups of equal depth, layers in proportion to each stage's peak FLOPS, micro-batches in
/// proportion to each group's, layers moved from stages that do not fit to those with most room (Jia et al.
/// 2022, USENIX ATC, hardware-aware load balancing; its public code has none of it, so this is made from the
/// paper). Same outer choices.
///
/// Both are searched exhaustively by their analytic time; the best few are simulated and the fastest is
/// returned.
#pragma once

#include <cstdint>
#include <vector>

#include "algos/base/status.h"
#include "planner/cost/cost.h"
#include "planner/plan/plan.h"

namespace tessera::planner {

struct BaselineSpace {
  bool idle_types =
      true;  // may leave device types out; else every device takes part, as in a job over all ranks
  std::vector<int> tensor_parallel;  // empty: the powers of two up to the largest node
  std::vector<std::int64_t> micro_batch = {1, 2, 4, 8};
  std::vector<MeshShape> context = {{}};  // a stage stays inside one node
  std::vector<Recompute> recompute = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};
};

struct BaselinePlan {
  Plan plan;               // passes check_plan; expectations filled in
  double iteration_s = 0;  // simulated
  std::int64_t considered = 0;
  std::int64_t feasible = 0;  // of those estimated in full
};

/// kNotFound when nothing in the space fits.
[[nodiscard]] Result<BaselinePlan> megatron_plan(const CostModel& cost, const BaselineSpace& space = {});
[[nodiscard]] Result<BaselinePlan> whale_plan(const CostModel& cost, const BaselineSpace& space = {});

}  // namespace tessera::planner
