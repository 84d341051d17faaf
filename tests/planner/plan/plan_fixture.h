/// Small plans whose answers can be read off a sketch.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planner/plan/plan.h"
#include "planner/spec/cluster_spec.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/train_spec.h"

namespace tessera::planner::testing {

/// A plan in which every cell gets the next free devices of `nodes` equal nodes; cuts[j] are the layers of
/// group j's stages.
inline Plan plan_of(int tensor_parallel, const MeshShape& context, const std::vector<std::vector<int>>& cuts,
                    int nodes, int devices_per_node) {
  Plan plan;
  plan.tensor_parallel = tensor_parallel;
  plan.context = context;
  plan.sequence_length = 64;
  plan.parameters = 1000;
  for (int node = 0; node < nodes; ++node)
    plan.nodes.push_back({"n" + std::to_string(node), "CPU", devices_per_node});
  int next = 0;
  for (const auto& cut : cuts) {
    DeviceGroup group;
    group.micro_batches = 3;
    int first = 0;
    for (const int layers : cut) {
      Stage stage;
      stage.first_layer = first;
      stage.layers = layers;
      stage.recompute.assign(static_cast<std::size_t>(layers), Recompute::kNone);
      for (int i = 0; i < plan.stage_devices(); ++i, ++next) {
        stage.devices.push_back({next / devices_per_node, next % devices_per_node});
      }
      first += layers;
      group.stages.push_back(std::move(stage));
    }
    plan.layers = first;
    plan.groups.push_back(std::move(group));
  }
  plan.global_batch = plan.micro_batch * plan.micro_batches();
  return plan;
}

/// The example of communicators.h on 4 ranks: group 0 cuts 0-1|2-3, group 1 cuts 0-2|3.
inline Plan example() { return plan_of(1, {}, {{2, 2}, {3, 1}}, 2, 2); }

}  // namespace tessera::planner::testing
