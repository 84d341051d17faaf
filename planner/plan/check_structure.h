/// Judges a plan, whoever made it, against itself, its model, its cluster and its training run.
///
/// A plan that passes holds every decoder layer exactly once in each group, uses no device twice, keeps each
/// tensor-parallel cell inside one node, divides heads and vocabulary by its degrees, and trains the global
/// batch exactly. Memory is judged by planner/cost/check_plan.h.
#pragma once

#include <string>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/cluster_spec.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"

namespace tessera::planner {

/// The plan against itself alone. `file` names it in complaints.
[[nodiscard]] Status check_structure(const Plan& plan, const std::string& file);

/// Also against what it was made for.
[[nodiscard]] Status check_structure(const Plan& plan, const std::string& file, const ModelSpec& model,
                                     const ClusterSpec& cluster, const TrainSpec& train);

}  // namespace tessera::planner
