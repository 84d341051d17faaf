#include "planner/sim/refine_plan.h"

#include <algorithm>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "planner/cost/estimate.h"

namespace tessera::planner::sim {
namespace {

/// Deeper groups give layers from their slowest stage only.
constexpr std::size_t kAllPairs = 12;

using planner::DeviceGroup;
using planner::Stage;

/// Groups that are the same but for which devices of a class they use.
std::vector<std::vector<std::size_t>> kinds_of_groups(const Plan& plan, const CostModel& cost) {
  const auto alike = [&](const DeviceGroup& a, const DeviceGroup& b) {
    return a.stages.size() == b.stages.size() &&
           std::ranges::equal(a.stages, b.stages, [&](const Stage& x, const Stage& y) {
             return x.layers == y.layers && x.recompute == y.recompute &&
                    cost.device_class(x.devices[0].node) == cost.device_class(y.devices[0].node);
           });
  };
  std::vector<std::vector<std::size_t>> kinds;
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    const auto at = std::ranges::find_if(
        kinds, [&](const auto& kind) { return alike(plan.groups[kind[0]], plan.groups[g]); });
    if (at == kinds.end()) {
      kinds.push_back({g});
    } else {
      at->push_back(g);
    }
  }
  return kinds;
}

bool fits(const PlanEstimate& estimate) {
  for (const auto& group : estimate.stages) {
    for (const StageExpectation& stage : group) {
      if (stage.peak_bytes > stage.capacity_bytes) return false;
    }
  }
  return true;
}

/// The same total, each next one to the group that then ends first.
void share_out(Plan& plan, const PlanEstimate& estimate) {
  using Next = std::pair<double, std::size_t>;  // the group's seconds with one more
  std::priority_queue<Next, std::vector<Next>, std::greater<>> next;
  std::int64_t left = plan.micro_batches();
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    const double first_s =
        estimate.pipeline_s[g] - static_cast<double>(plan.groups[g].micro_batches - 1) * estimate.period_s[g];
    plan.groups[g].micro_batches = 1;
    --left;
    next.push({first_s + estimate.period_s[g], g});
  }
  for (; left > 0; --left) {
    const auto [seconds, g] = next.top();
    next.pop();
    ++plan.groups[g].micro_batches;
    next.push({seconds + estimate.period_s[g], g});
  }
}

void move_layer(DeviceGroup& group, std::size_t from, std::size_t to) {
  Stage& giver = group.stages[from];
  Stage& taker = group.stages[to];
  --giver.layers;
  giver.recompute.pop_back();
  ++taker.layers;
  taker.recompute.push_back(taker.recompute.back());
  int first = 0;
  for (Stage& stage : group.stages) {
    stage.first_layer = first;
    first += stage.layers;
  }
}

class Climber {
 public:
  Climber(Plan plan, const CostModel& cost)
      : cost_(cost), plan_(std::move(plan)), estimate_(estimate(plan_, cost)) {
    consider(plan_);  // with its micro-batches shared out
    take();
  }

  /// The best step, if one helps.
  bool step() {
    for (const auto& kind : kinds_of_groups(plan_, cost_)) {
      const std::size_t depth = plan_.groups[kind[0]].stages.size();
      for (std::size_t from = 0; from < depth; ++from) {
        if (plan_.groups[kind[0]].stages[from].layers == 1) continue;
        if (depth > kAllPairs && from != slowest_stage(kind[0])) continue;
        for (std::size_t to = 0; to < depth; ++to) {
          if (to == from) continue;
          Plan changed = plan_;
          for (const std::size_t g : kind) move_layer(changed.groups[g], from, to);
          consider(std::move(changed));
        }
      }
    }
    // What ends after the pipelines can make another share better than the one that ends them earliest.
    const auto slowest = static_cast<std::size_t>(std::ranges::max_element(estimate_.pipeline_s) -
                                                  estimate_.pipeline_s.begin());
    if (plan_.groups[slowest].micro_batches > 1) {
      for (const auto& kind : kinds_of_groups(plan_, cost_)) {
        if (kind[0] == slowest) continue;
        Plan changed = plan_;
        --changed.groups[slowest].micro_batches;
        ++changed.groups[kind[0]].micro_batches;
        compare(std::move(changed));
      }
    }
    return take();
  }

  Plan result() && {
    set_expectations(plan_, estimate_);
    return std::move(plan_);
  }

 private:
  [[nodiscard]] std::size_t slowest_stage(std::size_t group) const {
    const auto& stages = estimate_.stages[group];
    const auto at = std::ranges::max_element(
        stages, {}, [](const StageExpectation& stage) { return stage.forward_s + stage.backward_s; });
    return static_cast<std::size_t>(at - stages.begin());
  }
  /// With the micro-batches as they are and dealt out again.
  void consider(Plan changed) {
    Plan shared = changed;
    share_out(shared, estimate(changed, cost_));
    compare(std::move(shared));
    compare(std::move(changed));
  }
  void compare(Plan changed) {
    PlanEstimate found = estimate(changed, cost_);
    constexpr double kEnough = 1 - 1e-9;
    const double best = best_ ? best_->second.iteration_s : estimate_.iteration_s;
    if (found.iteration_s < best * kEnough && fits(found))
      best_.emplace(std::move(changed), std::move(found));
  }
  bool take() {
    if (!best_) return false;
    plan_ = std::move(best_->first);
    estimate_ = std::move(best_->second);
    best_.reset();
    return true;
  }

  const CostModel& cost_;
  Plan plan_;
  PlanEstimate estimate_;
  std::optional<std::pair<Plan, PlanEstimate>> best_;
};

}  // namespace

Plan refine_plan(Plan plan, const CostModel& cost, const std::function<bool()>& cancelled, int rounds) {
  Climber climber(std::move(plan), cost);
  for (int round = 0; round < rounds && !(cancelled && cancelled()); ++round) {
    if (!climber.step()) break;
  }
  return std::move(climber).result();
}

}  // namespace tessera::planner::sim
