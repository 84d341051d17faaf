#include "planner/search/node_mapping.h"

#include <algorithm>
#include <utility>

namespace tessera::planner {
namespace {

struct Place {
  std::size_t group = 0;
  std::size_t stage = 0;
};

void assign(Plan& plan, const std::vector<Place>& order, const std::vector<std::vector<int>>& types,
            const std::vector<UnitClass>& classes) {
  std::vector<std::size_t> next(classes.size(), 0);
  for (const Place& place : order) {
    const auto type = static_cast<std::size_t>(types[place.group][place.stage]);
    plan.groups[place.group].stages[place.stage].devices = classes[type].units[next[type]++].devices;
  }
}

std::vector<Place> group_by_group(const Plan& plan) {
  std::vector<Place> order;
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    for (std::size_t s = 0; s < plan.groups[j].stages.size(); ++s) order.push_back({j, s});
  }
  return order;
}

/// Stages that hold the same layers after one another: by first layer.
std::vector<Place> layer_by_layer(const Plan& plan) {
  std::vector<Place> order = group_by_group(plan);
  std::stable_sort(order.begin(), order.end(), [&](const Place& a, const Place& b) {
    return plan.groups[a.group].stages[a.stage].first_layer <
           plan.groups[b.group].stages[b.stage].first_layer;
  });
  return order;
}

}  // namespace

Mapping map_units(Plan& plan, const std::vector<std::vector<int>>& types,
                  const std::vector<UnitClass>& classes, const CostModel& cost, std::int64_t most_evaluations,
                  const Cancelled& cancelled) {
  const std::vector<Place> order = group_by_group(plan);
  Mapping best;
  assign(plan, order, types, classes);
  best.estimate = estimate(plan, cost);
  Plan other = plan;
  assign(other, layer_by_layer(plan), types, classes);
  PlanEstimate found = estimate(other, cost);
  best.evaluated = 2;
  if (found.iteration_s < best.estimate.iteration_s) {
    plan = std::move(other);
    best.estimate = std::move(found);
  }
  constexpr double kWorthwhile = 1e-6;  // relative: rounding is no improvement
  for (bool improved = true; improved;) {
    improved = false;
    for (std::size_t a = 0; a < order.size(); ++a) {
      for (std::size_t b = a + 1; b < order.size(); ++b) {
        if (best.evaluated >= most_evaluations || (cancelled && cancelled())) return best;
        Stage& left = plan.groups[order[a].group].stages[order[a].stage];
        Stage& right = plan.groups[order[b].group].stages[order[b].stage];
        const bool alike = types[order[a].group][order[a].stage] == types[order[b].group][order[b].stage];
        if (!alike || left.devices.front().node == right.devices.front().node) continue;
        std::swap(left.devices, right.devices);
        found = estimate(plan, cost);
        ++best.evaluated;
        if (found.iteration_s < best.estimate.iteration_s * (1 - kWorthwhile)) {
          best.estimate = std::move(found);
          improved = true;
        } else {
          std::swap(left.devices, right.devices);
        }
      }
    }
  }
  return best;
}

}  // namespace tessera::planner
