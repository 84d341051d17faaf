/// Makes a plan faster by small changes until none helps: hill climbing on the analytic time.
///
///   micro-batches   given out one by one, each to the group that then ends first: optimal for fixed groups
///                   (AutoHet notes, 2.7)
///   layers          one at a time from the slowest stage of some kind of group to another of its stages, in
///   all
///                   groups of that kind at once
///
/// The exact search minimises pipelines alone; this looks at reductions, updates and gathers too, so it can
/// improve on its plans, and on anybody's. Every step keeps the plan within memory.
#pragma once

#include <functional>

#include "planner/cost/cost.h"
#include "planner/plan/plan.h"

namespace tessera::planner::sim {

/// `plan` must pass check_plan; so does the result, whose estimate is not slower. Expectations are filled in.
/// O(rounds * pairs of stages * estimate), at most `rounds` rounds; `cancelled` ends it early.
[[nodiscard]] Plan refine_plan(Plan plan, const CostModel& cost, const std::function<bool()>& cancelled = {},
                               int rounds = 200);

}  // namespace tessera::planner::sim
