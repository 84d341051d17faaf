#include "planner/sim/plan_iteration.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::planner::sim {
namespace {

using planner::SegmentCost;
using Bytes = std::map<int, double>;  // by NIC

int outgoing(int node) { return 2 * node; }
int incoming(int node) { return 2 * node + 1; }

Transfer transfer(double seconds, const Bytes& bytes) {
  Transfer out{seconds, {}};
  if (seconds <= 0) return out;
  for (const auto& [nic, amount] : bytes) out.demands.push_back({nic, amount / seconds});
  return out;
}

/// What one message of every device of `from` to its twin in `to` puts on the NICs.
Bytes boundary_load(const planner::Stage& from, const planner::Stage& to, double bytes) {
  Bytes load;
  for (std::size_t i = 0; i < from.devices.size(); ++i) {
    if (from.devices[i].node == to.devices[i].node) continue;
    load[outgoing(from.devices[i].node)] += bytes;
    load[incoming(to.devices[i].node)] += bytes;
  }
  return load;
}

class Adapter {
 public:
  Adapter(const Plan& plan, const CostModel& cost, const PlanEstimate& estimate)
      : plan_(plan),
        cost_(cost),
        estimate_(estimate),
        shape_{plan.tensor_parallel, plan.context, plan.micro_batch} {}

  Iteration iteration() const {
    Iteration out;
    out.norm_barrier = cost_.train().clip > 0;
    for (int n = 0; n < static_cast<int>(cost_.cluster().nodes.size()); ++n) {
      // A cluster of one node may have no network at all; nothing loads its NIC then.
      const LinkCurve& link = cost_.inter(n);
      out.nic_bytes_per_s.insert(out.nic_bytes_per_s.end(), 2, link.empty() ? 1 : link.bytes_per_s());
    }
    for (int g = 0; g < static_cast<int>(plan_.groups.size()); ++g) out.groups.push_back(group(g));
    for (const SegmentCost& segment : estimate_.segments) out.segments.push_back(this->segment(segment));
    return out;
  }

 private:
  Group group(int g) const {
    const DeviceGroup& group = plan_.groups[g];
    Group out;
    out.micro_batches = static_cast<int>(group.micro_batches);
    const double bytes = cost_.boundary_bytes(shape_);
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      const planner::Stage& stage = group.stages[s];
      const StageExpectation& expected = estimate_.stages[g][s];
      Stage made;
      made.name = fmt::format("{} × {}", stage.devices.size(), plan_.nodes[stage.devices[0].node].device);
      made.forward_s = expected.forward_s;
      made.backward_s = expected.backward_s;
      made.update_s = expected.update_s;
      if (s + 1 < group.stages.size()) {
        made.send_activation =
            transfer(expected.send_activation_s, boundary_load(stage, group.stages[s + 1], bytes));
      }
      if (s > 0) {
        made.send_gradient =
            transfer(expected.send_gradient_s, boundary_load(stage, group.stages[s - 1], bytes));
      }
      made.static_bytes = expected.static_bytes;
      made.activation_bytes = expected.activation_bytes;
      made.workspace_bytes = expected.workspace_bytes;
      out.stages.push_back(std::move(made));
    }
    return out;
  }

  sim::Segment segment(const SegmentCost& cost) const {
    const planner::Segment& segment = cost.segment;
    sim::Segment out;
    out.name =
        segment.tied
            ? "tied embedding"
            : fmt::format("layers {}-{}{}{}", segment.first_layer, segment.first_layer + segment.layers - 1,
                          segment.embedding ? " + embedding" : "", segment.head ? " + head" : "");
    for (int g = 0; g < static_cast<int>(segment.owners.size()); ++g) {
      for (const int s : segment.owners[g]) out.owners.push_back({g, s, ready(segment, g, s)});
    }
    const double parameter_bytes = cost.bytes * cost_.parameter_bytes() / cost_.gradient_bytes();
    out.reduce = transfer(cost.reduce_s, ring_load(segment, cost.bytes));
    out.gather = transfer(cost.gather_s, ring_load(segment, parameter_bytes));
    return out;
  }

  /// One pass of a ring over the owners of each tensor rank.
  Bytes ring_load(const planner::Segment& segment, double bytes) const {
    Bytes load;
    for (int tensor = 0; tensor < plan_.tensor_parallel; ++tensor) {
      std::set<int> nodes;
      double members = 0;
      for (int g = 0; g < static_cast<int>(segment.owners.size()); ++g) {
        for (const int s : segment.owners[g]) {
          const planner::Stage& stage = plan_.groups[g].stages[s];
          for (int cell = 0; cell < plan_.context.ranks(); ++cell) {
            nodes.insert(stage.devices[cell * plan_.tensor_parallel + tensor].node);
            ++members;
          }
        }
      }
      if (nodes.size() < 2) continue;
      for (const int node : nodes) {
        load[outgoing(node)] += bytes * (members - 1) / members;
        load[incoming(node)] += bytes * (members - 1) / members;
      }
    }
    return load;
  }

  double ready(const planner::Segment& segment, int g, int s) const {
    const planner::Stage& stage = plan_.groups[g].stages[s];
    const DeviceClass device = cost_.device_class(stage.devices[0].node);
    const bool first = s == 0;
    const bool last = s + 1 == static_cast<int>(plan_.groups[g].stages.size());
    double passed = 0;
    double all = 0;
    const auto pass = [&](double seconds, bool needed) {
      all += seconds;
      if (needed) passed = all;
    };
    if (last) pass(cost_.head(device, shape_, first).backward_s, segment.head || (segment.tied && !first));
    for (int i = stage.layers - 1; i >= 0; --i) {
      const int layer = stage.first_layer + i;
      const bool held =
          !segment.tied && layer >= segment.first_layer && layer < segment.first_layer + segment.layers;
      pass(cost_.decoder(device, shape_, layer, stage.recompute[i]).backward_s, held);
    }
    if (first) pass(cost_.embedding(device, shape_).backward_s, segment.embedding || segment.tied);
    return all > 0 ? passed / all : 1;
  }

  const Plan& plan_;
  const CostModel& cost_;
  const PlanEstimate& estimate_;
  StageShape shape_;
};

}  // namespace

Iteration plan_iteration(const Plan& plan, const CostModel& cost, const PlanEstimate& estimate) {
  TS_REQUIRE(estimate.stages.size() == plan.groups.size(), estimate.stages.size(), plan.groups.size());
  return Adapter(plan, cost, estimate).iteration();
}

PlanSimulation simulate_plan(const Plan& plan, const CostModel& cost) {
  PlanSimulation out;
  out.estimate = estimate(plan, cost);
  out.iteration = plan_iteration(plan, cost, out.estimate);
  out.timeline = simulate(out.iteration);
  out.memory = memory_curves(out.iteration, out.timeline);
  return out;
}

}  // namespace tessera::planner::sim
