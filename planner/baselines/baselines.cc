#include "planner/baselines/baselines.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "planner/baselines/layouts.h"
#include "planner/baselines/stage_costs.h"
#include "planner/cost/estimate.h"
#include "planner/sim/plan_iteration.h"

namespace tessera::planner {
namespace {

/// Simulated of the analytically best plans.
constexpr std::size_t kSimulated = 8;

/// One way to lay the job out, but for what the system derives from it: cuts and micro-batches.
struct Layout {
  StageShape shape;
  Recompute recompute = Recompute::kNone;
  const StageCosts* costs = nullptr;
  const std::vector<Unit>* list = nullptr;
  int depth = 1;
  int groups = 1;
  bool stages_outer = false;
  double bound_s = 0;  // computation alone
};

/// Layers per stage by group, and micro-batches by group.
struct Division {
  std::vector<std::vector<int>> layers;
  std::vector<std::int64_t> micro_batches;
};

std::vector<StagePlace> places_of(const std::vector<int>& layers, std::int64_t micro_batches) {
  std::vector<StagePlace> places;
  const int depth = static_cast<int>(layers.size());
  int first = 0;
  for (int s = 0; s < depth; ++s) {
    places.push_back({first, layers[static_cast<std::size_t>(s)], s == 0, s + 1 == depth,
                      static_cast<double>(std::min<std::int64_t>(depth - s, micro_batches))});
    first += layers[static_cast<std::size_t>(s)];
  }
  return places;
}

/// total in whole parts in proportion to the weights, each at least one; largest remainders first.
template <class Int>
std::vector<Int> proportional(Int total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<Int> parts;
  std::vector<std::pair<double, std::size_t>> remainders;
  Int given = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double exact = static_cast<double>(total) * weights[i] / sum;
    parts.push_back(std::max<Int>(1, static_cast<Int>(exact)));
    given += parts.back();
    remainders.emplace_back(exact - std::floor(exact), i);
  }
  std::ranges::stable_sort(remainders, std::ranges::greater{}, &std::pair<double, std::size_t>::first);
  for (std::size_t k = 0; given < total; k = (k + 1) % parts.size(), ++given) ++parts[remainders[k].second];
  for (; given > total; --given) --*std::ranges::max_element(parts);  // the least ones were rounded up
  return parts;
}

class System {
 public:
  explicit System(const CostModel& cost) : cost_(cost) {}
  virtual ~System() = default;
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  /// How many groups of that depth it would form of at most `most`; 0: none.
  [[nodiscard]] virtual int groups(int most, std::int64_t micro_batches) const = 0;
  [[nodiscard]] virtual Division divide(const Layout& layout, const std::vector<std::vector<Unit>>& groups,
                                        std::int64_t micro_batches) const = 0;
  /// After memory has been looked at.
  virtual void repair(const Layout& /*layout*/, const std::vector<std::vector<Unit>>& /*groups*/,
                      Division& /*division*/) const {}

 protected:
  const CostModel& cost_;
};

/// Equal cuts; layers that do not divide go one each to the stages behind the first.
class Megatron final : public System {
 public:
  using System::System;
  int groups(int most, std::int64_t micro_batches) const override {
    for (int g = most; g > 0; --g) {
      if (micro_batches % g == 0) return g;
    }
    return 0;
  }
  Division divide(const Layout& layout, const std::vector<std::vector<Unit>>& groups,
                  std::int64_t micro_batches) const override {
    const int all = cost_.model().layers;
    std::vector<int> cut(static_cast<std::size_t>(layout.depth), all / layout.depth);
    for (int extra = 0; extra < all % layout.depth; ++extra) ++cut[static_cast<std::size_t>(extra) + 1];
    return {std::vector(groups.size(), cut),
            std::vector(groups.size(), micro_batches / static_cast<std::int64_t>(groups.size()))};
  }
};

class Whale final : public System {
 public:
  using System::System;
  int groups(int most, std::int64_t micro_batches) const override {
    return static_cast<int>(std::min<std::int64_t>(most, micro_batches));
  }
  Division divide(const Layout& /*layout*/, const std::vector<std::vector<Unit>>& groups,
                  std::int64_t micro_batches) const override {
    Division division;
    std::vector<double> group_flops;
    for (const std::vector<Unit>& group : groups) {
      std::vector<double> flops;
      for (const Unit& unit : group) {
        flops.push_back(cost_.cluster().types[static_cast<std::size_t>(unit.device.type)].peak_flops *
                        unit.device.speed);
      }
      group_flops.push_back(std::accumulate(flops.begin(), flops.end(), 0.0));
      division.layers.push_back(proportional(cost_.model().layers, flops));
    }
    division.micro_batches = proportional(micro_batches, group_flops);
    return division;
  }

  /// A stage over its memory gives layers to the stage of its group with most room, one at a time.
  void repair(const Layout& layout, const std::vector<std::vector<Unit>>& groups,
              Division& division) const override {
    const std::int64_t owners = static_cast<std::int64_t>(groups.size()) * layout.shape.context.ranks();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      std::vector<int>& layers = division.layers[g];
      for (int move = 0; move < cost_.model().layers; ++move) {
        const auto places = places_of(layers, division.micro_batches[g]);
        std::size_t fullest = 0;
        std::size_t emptiest = 0;
        std::vector<double> room;
        for (std::size_t s = 0; s < layers.size(); ++s) {
          const DeviceClass device = groups[g][s].device;
          room.push_back(cost_.capacity_bytes(device) - layout.costs->bytes(device, places[s], owners));
          if (room[s] < room[fullest]) fullest = s;
          if (room[s] > room[emptiest]) emptiest = s;
        }
        if (room[fullest] >= 0 || room[emptiest] <= 0 || layers[fullest] == 1) break;
        --layers[fullest];
        ++layers[emptiest];
      }
    }
  }
};

class Explorer {
 public:
  Explorer(const CostModel& cost, const BaselineSpace& space, const System& system)
      : cost_(cost), space_(space), system_(system) {}

  Result<BaselinePlan> best(const std::string& name) {
    list_layouts();
    std::ranges::sort(layouts_, {}, &Layout::bound_s);
    std::vector<std::pair<double, Plan>> fastest;  // by analytic seconds, at most kSimulated
    BaselinePlan out;
    out.considered = static_cast<std::int64_t>(layouts_.size());
    for (const Layout& layout : layouts_) {
      if (fastest.size() == kSimulated && layout.bound_s >= fastest.back().first) break;
      std::optional<Plan> plan = plan_of(layout);
      if (!plan) continue;
      ++out.feasible;
      const auto at =
          std::ranges::upper_bound(fastest, plan->expected.iteration_s, {}, &std::pair<double, Plan>::first);
      fastest.emplace(at, plan->expected.iteration_s, std::move(*plan));
      if (fastest.size() > kSimulated) fastest.pop_back();
    }
    if (fastest.empty()) {
      return Status(Code::kNotFound,
                    fmt::format("none of {} {} plans fits the devices' memory", out.considered, name));
    }
    out.iteration_s = std::numeric_limits<double>::infinity();
    for (auto& [analytic_s, plan] : fastest) {
      const double simulated = sim::simulate_plan(plan, cost_).timeline.iteration_s;
      if (simulated >= out.iteration_s) continue;
      out.iteration_s = simulated;
      out.plan = std::move(plan);
    }
    return out;
  }

 private:
  [[nodiscard]] std::vector<int> degrees() const {
    if (!space_.tensor_parallel.empty()) return space_.tensor_parallel;
    int largest = 1;
    for (const NodeSpec& node : cost_.cluster().nodes) largest = std::max(largest, node.devices);
    std::vector<int> out;
    for (int degree = 1; degree <= largest; degree *= 2) out.push_back(degree);
    return out;
  }

  void list_layouts() {
    const std::int64_t batch = cost_.train().global_batch;
    for (const int degree : degrees()) {
      for (const MeshShape& context : space_.context) {
        lists_.push_back(unit_lists(cost_, degree * context.ranks(), space_.idle_types));
        const std::vector<std::vector<Unit>>& lists = lists_.back();
        for (const std::int64_t micro_batch : space_.micro_batch) {
          const StageShape shape{degree, context, micro_batch};
          if (batch % micro_batch != 0 || !cost_.check_shape(shape).ok()) continue;
          for (const Recompute recompute : space_.recompute) {
            costs_.push_back(std::make_unique<StageCosts>(cost_, shape, recompute));
            for (const std::vector<Unit>& list : lists) list_depths(shape, recompute, list);
          }
        }
      }
    }
  }

  void list_depths(const StageShape& shape, Recompute recompute, const std::vector<Unit>& list) {
    const int units = static_cast<int>(list.size());
    const std::int64_t micro_batches = cost_.train().global_batch / shape.micro_batch;
    for (int depth = 1; depth <= std::min(units, cost_.model().layers); ++depth) {
      const int groups = system_.groups(units / depth, micro_batches);
      if (groups == 0 || (!space_.idle_types && groups * depth != units)) continue;
      for (const bool stages_outer : {false, true}) {
        if (stages_outer && (groups == 1 || depth == 1)) continue;  // the same placement
        Layout layout{shape, recompute, costs_.back().get(), &list, depth, groups, stages_outer, 0};
        layout.bound_s = bound(layout);
        layouts_.push_back(layout);
      }
    }
  }

  [[nodiscard]] double bound(const Layout& layout) const {
    const auto groups = place(*layout.list, layout.groups, layout.depth, layout.stages_outer);
    const Division division = divided(layout, groups);
    double slowest = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto places = places_of(division.layers[g], division.micro_batches[g]);
      double sum = 0;
      double longest = 0;
      for (std::size_t s = 0; s < places.size(); ++s) {
        const double seconds = layout.costs->seconds(groups[g][s].device, places[s]);
        sum += seconds;
        longest = std::max(longest, seconds);
      }
      slowest = std::max(slowest, sum + static_cast<double>(division.micro_batches[g] - 1) * longest);
    }
    return slowest;
  }

  [[nodiscard]] Division divided(const Layout& layout, const std::vector<std::vector<Unit>>& groups) const {
    Division division = system_.divide(layout, groups, cost_.train().global_batch / layout.shape.micro_batch);
    system_.repair(layout, groups, division);
    return division;
  }

  /// With its expectations; nothing when it does not fit.
  [[nodiscard]] std::optional<Plan> plan_of(const Layout& layout) const {
    const auto groups = place(*layout.list, layout.groups, layout.depth, layout.stages_outer);
    const Division division = divided(layout, groups);
    const std::int64_t owners = static_cast<std::int64_t>(groups.size()) * layout.shape.context.ranks();
    Plan plan;
    plan.layers = cost_.model().layers;
    plan.tied_embeddings = cost_.model().tie_word_embeddings;
    plan.parameters = cost_.model().parameters();
    plan.sequence_length = cost_.train().sequence_length;
    plan.global_batch = cost_.train().global_batch;
    plan.precision = cost_.precision();
    plan.tensor_parallel = layout.shape.tensor_parallel;
    plan.context = layout.shape.context;
    plan.micro_batch = layout.shape.micro_batch;
    for (const NodeSpec& node : cost_.cluster().nodes) {
      plan.nodes.push_back({node.name, cost_.cluster().type_of(node).name, node.devices});
    }
    for (std::size_t g = 0; g < groups.size(); ++g) {
      DeviceGroup& group = plan.groups.emplace_back();
      group.micro_batches = division.micro_batches[g];
      const auto places = places_of(division.layers[g], division.micro_batches[g]);
      for (std::size_t s = 0; s < places.size(); ++s) {
        const Unit& unit = groups[g][s];
        if (layout.costs->bytes(unit.device, places[s], owners) > cost_.capacity_bytes(unit.device))
          return {};
        Stage& stage = group.stages.emplace_back();
        for (int d = 0; d < plan.stage_devices(); ++d)
          stage.devices.push_back({unit.node, unit.first_device + d});
        stage.first_layer = places[s].first_layer;
        stage.layers = places[s].layers;
        stage.recompute.assign(static_cast<std::size_t>(stage.layers), layout.recompute);
      }
    }
    set_expectations(plan, estimate(plan, cost_));
    for (const DeviceGroup& group : plan.groups) {
      for (const Stage& stage : group.stages) {
        if (stage.expected.peak_bytes > stage.expected.capacity_bytes) return {};
      }
    }
    return plan;
  }

  const CostModel& cost_;
  const BaselineSpace& space_;
  const System& system_;
  std::deque<std::vector<std::vector<Unit>>> lists_;  // layouts point into it
  std::vector<std::unique_ptr<StageCosts>> costs_;
  std::vector<Layout> layouts_;
};

}  // namespace

Result<BaselinePlan> megatron_plan(const CostModel& cost, const BaselineSpace& space) {
  return Explorer(cost, space, Megatron(cost)).best("Megatron-like");
}

Result<BaselinePlan> whale_plan(const CostModel& cost, const BaselineSpace& space) {
  return Explorer(cost, space, Whale(cost)).best("Whale-like");
}

}  // namespace tessera::planner
