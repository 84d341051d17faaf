/// Which physical units the stages of a grouping get (AutoHet notes, 2.8).
///
/// Units of a class compute alike, so only communication differs. Two assignments start: consecutive stages
/// of a group side by side (activations stay inside nodes), and replicas of a stage side by side (gradients
/// do). The better one is improved by swapping two units of a class while that shortens the estimated
/// iteration.
#pragma once

#include <cstdint>

#include "planner/cost/cost.h"
#include "planner/cost/estimate.h"
#include "planner/search/group_table.h"
#include "planner/search/unit_pool.h"

namespace tessera::planner {

struct Mapping {
  PlanEstimate estimate;
  std::int64_t evaluated = 0;  // estimates made
};

/// Fills the devices of every stage of `plan`; `types[group][stage]` is the class in `classes`. Swaps are
/// tried while no more than `most_evaluations` estimates have been made.
[[nodiscard]] Mapping map_units(Plan& plan, const std::vector<std::vector<int>>& types,
                                const std::vector<UnitClass>& classes, const CostModel& cost,
                                std::int64_t most_evaluations, const Cancelled& cancelled = {});

}  // namespace tessera::planner
