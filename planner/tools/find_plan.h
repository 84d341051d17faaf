/// A plan for a job from one of the systems that can make one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"
#include "planner/cost/cost.h"
#include "planner/plan/plan.h"

namespace tessera::planner::tools {

enum class System : std::uint8_t { kTessera, kMegatron, kWhale };
[[nodiscard]] const char* system_name(System system);
[[nodiscard]] std::optional<System> find_system(const std::string& name);

/// What may be tried. Empty lists: what the search itself would try.
struct PlanChoices {
  std::vector<int> tensor_parallel;
  std::vector<std::int64_t> micro_batch;
  std::vector<std::string> context;
  std::vector<std::string> recompute;
  bool equal_micro_batches = false;
  bool idle_types = true;   // baselines may leave device types out
  double time_limit_s = 0;  // 0: none
  bool progress = false;    // a line on standard error while searching, if that is a terminal
};

/// --tensor-parallel, --micro-batch, --context, --recompute, --equal-micro-batches, --time-limit.
void declare_choices(CLI::App& app, PlanChoices& choices);

/// With its expectations. kNotFound: nothing fits; the message says what is too large for what. Ctrl-C ends
/// the search early with the best plan so far and its gap.
[[nodiscard]] Result<Plan> find_plan(System system, const CostModel& cost, const PlanChoices& choices);

}  // namespace tessera::planner::tools
