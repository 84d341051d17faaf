/// Everything tessera-plan says about one plan, as text, JSON and one HTML page.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "planner/cost/cost.h"
#include "planner/plan/plan.h"
#include "planner/sim/plan_iteration.h"
#include "planner/tools/plan_metrics.h"

namespace tessera::planner::tools {

struct PlanReport {
  Plan plan;
  sim::PlanSimulation simulation;
  PlanMetrics metrics;
  RecoveryAssumptions assumptions;
};

[[nodiscard]] PlanReport make_report(const Plan& plan, const CostModel& cost,
                                     const RecoveryAssumptions& assumptions = {});

/// Another plan for the same job, for the comparison; `problem` instead of a plan that does not exist.
struct Comparison {
  std::string name;
  std::string what;  // "tensor 4, 2 groups of 3 stages, micro-batch 1"
  double iteration_s = 0;
  double tokens_per_s = 0;
  std::string problem;
};

/// "tensor 4, mesh 1x2, 3 groups, micro-batch 2".
[[nodiscard]] std::string shape_text(const Plan& plan);

/// At most one screen for a plan of few distinct groups; equal groups share their rows.
[[nodiscard]] std::string report_text(const PlanReport& report, const CostModel& cost,
                                      const std::vector<Comparison>& others);
/// iteration_s, exposed_reduction_s, ..., per stage times and peak bytes.
[[nodiscard]] nlohmann::ordered_json report_json(const PlanReport& report);
[[nodiscard]] std::string report_html(const PlanReport& report, const CostModel& cost,
                                      const std::vector<Comparison>& others);

}  // namespace tessera::planner::tools
