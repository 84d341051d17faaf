/// The analytic iteration time and the memory of a plan (AutoHet notes, 2.3, 2.4, 2.9).
///
///   u_s = forward + backward, q_s = one-way transfer across boundary s (mean of activation and gradient)
///   period_j   = max over windows s <= t of (sum_{s<=r<=t} u_r + 2 sum_{s<=r<t} q_r) / (t - s + 1)
///   T_j        = sum_s u_s + 2 sum_s q_s + (m_j - 1) period_j
///   iteration  = max_j T_j + exposed reduction + max update + exposed gather
///
/// Groups of equal depth keep step: their messages across the same boundary leave a node together and share
/// its NIC, which lengthens q_s here (StageExpectation has each message alone).
///
/// Stage s holds t - s more micro-batches than stage t: F_t(i), B_t, ..., B_s, F_s, ..., F_t(i + t - s + 1)
/// wait for each other in 1F1B order, which takes the window's round trip. s = t is the slowest stage, t =
/// P_j - 1 the round trip of the notes.
///
/// Reductions run segment by segment in the global order, each from the moment its last owner has finished
/// its backward passes and its earlier segments; what ends after max_j T_j is exposed. What all segments
/// together put on a node's NIC takes that NIC's time, from the first of their starts, and likewise the
/// gathers.
#pragma once

#include <vector>

#include "planner/cost/cost.h"
#include "planner/plan/communicators.h"
#include "planner/plan/plan.h"

namespace tessera::planner {

struct SegmentCost {
  Segment segment;
  double bytes = 0;     // of gradients, one owner
  double reduce_s = 0;  // reduce-scatter of gradients, alone on its links
  double gather_s = 0;  // all-gather of updated parameters
};

struct PlanEstimate {
  std::vector<std::vector<StageExpectation>> stages;  // by group and stage
  std::vector<double> period_s;                       // by group
  std::vector<double> pipeline_s;
  std::vector<SegmentCost> segments;  // in the global order
  double sync_exposed_s = 0;
  double update_s = 0;
  double gather_s = 0;
  double iteration_s = 0;
};

/// `plan` must pass check_structure with the model, cluster and training run of `cost`.
[[nodiscard]] PlanEstimate estimate(const Plan& plan, const CostModel& cost);

/// Writes an estimate into the plan's `expected` fields; bound, gap and count are left as they are.
void set_expectations(Plan& plan, const PlanEstimate& estimate);

/// check_structure, and every stage within the memory of its devices. The complaint about memory names group,
/// stage, layers, the bytes needed and there, and what recomputation would need.
[[nodiscard]] Status check_plan(const Plan& plan, const CostModel& cost, const std::string& file);
/// The same, building the cost model first.
[[nodiscard]] Status check_plan(const Plan& plan, const ModelSpec& model, const ClusterSpec& cluster,
                                const TrainSpec& train, const std::string& file = "plan");

}  // namespace tessera::planner
