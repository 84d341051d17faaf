#include "planner/baselines/stage_costs.h"

#include <algorithm>

namespace tessera::planner {
namespace {

double seconds_of(const LayerCost& cost) { return cost.forward_s + cost.backward_s; }

}  // namespace

StageCosts::StageCosts(const CostModel& cost, const StageShape& shape, Recompute recompute)
    : cost_(&cost), shape_(shape) {
  for (int n = 0; n < static_cast<int>(cost.cluster().nodes.size()); ++n) {
    const DeviceClass device = cost.device_class(n);
    const auto [at, added] = sums_.try_emplace(device);
    if (!added) continue;
    Sums& sums = at->second;
    sums.before.resize(1);
    LayerCost layer;
    for (int i = 0; i < cost.model().layers; ++i) {
      if (i == 0 || !cost.identical_layers()) {
        layer = cost.decoder(device, shape, i, recompute);
        const double kept = cost.decoder(device, shape, i, Recompute::kNone).activation_bytes;
        sums.computed_again = std::max(sums.computed_again, kept - layer.activation_bytes);
      }
      LayerCost sum = sums.before.back();
      sum.forward_s += layer.forward_s;
      sum.backward_s += layer.backward_s;
      sum.parameters += layer.parameters;
      sum.activation_bytes += layer.activation_bytes;
      sum.workspace_bytes = std::max(sum.workspace_bytes, layer.workspace_bytes);
      sums.before.push_back(sum);
    }
    sums.embedding = cost.embedding(device, shape);
    sums.head = cost.head(device, shape, false);
    sums.lone_head = cost.head(device, shape, true);
  }
}

double StageCosts::seconds(DeviceClass device, const StagePlace& place) const {
  const Sums& sums = sums_.at(device);
  double total = seconds_of(sums.before[static_cast<std::size_t>(place.first_layer + place.layers)]) -
                 seconds_of(sums.before[static_cast<std::size_t>(place.first_layer)]);
  if (place.first) total += seconds_of(sums.embedding);
  if (place.last) total += seconds_of(place.first ? sums.lone_head : sums.head);
  return total;
}

double StageCosts::bytes(DeviceClass device, const StagePlace& place, std::int64_t owners) const {
  const Sums& sums = sums_.at(device);
  const LayerCost& to = sums.before[static_cast<std::size_t>(place.first_layer + place.layers)];
  const LayerCost& from = sums.before[static_cast<std::size_t>(place.first_layer)];
  double parameters = to.parameters - from.parameters;
  double activations = to.activation_bytes - from.activation_bytes;
  double workspace = to.workspace_bytes;
  const auto add = [&](const LayerCost& edge) {
    parameters += edge.parameters;
    activations += edge.activation_bytes;
    workspace = std::max(workspace, edge.workspace_bytes);
  };
  if (place.first) add(sums.embedding);
  if (place.last) add(place.first ? sums.lone_head : sums.head);
  activations += cost_->edge_activation_bytes(shape_, place.first, place.last);
  return parameters * cost_->state_bytes_per_parameter(owners) + place.in_flight * activations + workspace +
         sums.computed_again;
}

}  // namespace tessera::planner
