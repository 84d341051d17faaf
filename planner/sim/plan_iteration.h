/// A plan and its costs as a simulated iteration.
///
/// Stages take their times and bytes from the estimate. A boundary crossed between nodes loads the sender's
/// outgoing and the receiver's incoming NIC with the bytes of all its devices; a segment's ring loads, per
/// tensor rank, one outgoing and one incoming NIC of each node it visits with (n - 1) / n of the buffer for n
/// owners. NIC 2i is what node i sends, 2i + 1 what it receives; their rate is that of very large messages.
///
/// A segment's gradients are complete on an owner when the backward pass has reached its lowest layer there:
/// head first, decoder layers downwards, embedding last, each with its share of the backward time.
#pragma once

#include <vector>

#include "planner/cost/cost.h"
#include "planner/cost/estimate.h"
#include "planner/plan/plan.h"
#include "planner/sim/iteration.h"
#include "planner/sim/memory_curve.h"

namespace tessera::planner::sim {

/// `estimate` must be the plan's. Without clipping (TrainSpec::clip == 0) updates do not wait for each other.
[[nodiscard]] Iteration plan_iteration(const Plan& plan, const CostModel& cost, const PlanEstimate& estimate);

struct PlanSimulation {
  PlanEstimate estimate;
  Iteration iteration;
  Timeline timeline;
  std::vector<std::vector<MemoryCurve>> memory;  // by group and stage, of one device
};

/// `plan` must pass check_structure with the model, cluster and training run of `cost`; it need not fit.
[[nodiscard]] PlanSimulation simulate_plan(const Plan& plan, const CostModel& cost);

}  // namespace tessera::planner::sim
