#include "planner/cost/estimate.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "planner/plan/check_structure.h"

namespace tessera::planner {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

std::vector<DeviceClass> classes_of(const Stage& stage, const CostModel& cost) {
  std::vector<DeviceClass> classes;
  for (const DeviceSlot slot : stage.devices) {
    const DeviceClass device = cost.device_class(slot.node);
    if (std::find(classes.begin(), classes.end(), device) == classes.end()) classes.push_back(device);
  }
  return classes;
}

/// Costs of layers, each distinct one computed once.
class LayerCosts {
 public:
  LayerCosts(const CostModel& cost, const StageShape& shape) : cost_(cost), shape_(shape) {}
  const LayerCost& decoder(DeviceClass device, int layer, Recompute recompute) {
    const Key key{device, cost_.identical_layers() ? 0 : layer, recompute};
    const auto at = decoders_.find(key);
    if (at != decoders_.end()) return at->second;
    return decoders_.emplace(key, cost_.decoder(device, shape_, layer, recompute)).first->second;
  }

 private:
  using Key = std::tuple<DeviceClass, int, Recompute>;
  const CostModel& cost_;
  StageShape shape_;
  std::map<Key, LayerCost> decoders_;
};

/// Of one device of that class; the transfers are added by the caller.
StageExpectation stage_on(DeviceClass device, const Plan& plan, const Stage& stage, bool first, bool last,
                          std::int64_t in_flight, const CostModel& cost, LayerCosts& layers) {
  const StageShape shape{plan.tensor_parallel, plan.context, plan.micro_batch};
  const std::int64_t owners = static_cast<std::int64_t>(plan.groups.size()) * plan.context.ranks();
  StageExpectation stage_cost;
  double parameters = 0;
  double update_s = 0;
  const auto add = [&](const LayerCost& layer) {
    stage_cost.forward_s += layer.forward_s;
    stage_cost.backward_s += layer.backward_s;
    stage_cost.activation_bytes += layer.activation_bytes;
    stage_cost.workspace_bytes = std::max(stage_cost.workspace_bytes, layer.workspace_bytes);
    parameters += layer.parameters;
    update_s += layer.update_s;
  };
  double again = 0;
  for (int i = 0; i < stage.layers; ++i) {
    const Recompute recompute = stage.recompute[static_cast<std::size_t>(i)];
    add(layers.decoder(device, stage.first_layer + i, recompute));
    if (recompute != Recompute::kNone) {
      // One such layer at a time has what it computed again.
      again =
          std::max(again, layers.decoder(device, stage.first_layer + i, Recompute::kNone).activation_bytes -
                              layers.decoder(device, stage.first_layer + i, recompute).activation_bytes);
    }
  }
  if (first) add(cost.embedding(device, shape));
  if (last) add(cost.head(device, shape, first));
  stage_cost.workspace_bytes += again;
  stage_cost.activation_bytes += cost.edge_activation_bytes(shape, first, last);
  stage_cost.static_bytes = parameters * cost.state_bytes_per_parameter(owners);
  stage_cost.update_s = update_s / static_cast<double>(owners);
  stage_cost.peak_bytes = stage_cost.static_bytes + stage_cost.workspace_bytes +
                          static_cast<double>(in_flight) * stage_cost.activation_bytes;
  stage_cost.capacity_bytes = cost.capacity_bytes(device);
  return stage_cost;
}

/// The slower and larger of two devices' numbers, field by field.
void take_worse(StageExpectation& into, const StageExpectation& other, bool first) {
  if (first) {
    into = other;
    return;
  }
  into.forward_s = std::max(into.forward_s, other.forward_s);
  into.backward_s = std::max(into.backward_s, other.backward_s);
  into.update_s = std::max(into.update_s, other.update_s);
  into.static_bytes = std::max(into.static_bytes, other.static_bytes);
  into.activation_bytes = std::max(into.activation_bytes, other.activation_bytes);
  into.workspace_bytes = std::max(into.workspace_bytes, other.workspace_bytes);
  into.peak_bytes = std::max(into.peak_bytes, other.peak_bytes);
  into.capacity_bytes = std::min(into.capacity_bytes, other.capacity_bytes);
}

/// Devices of a stage whose twin in the next (or previous) stage is on another node, by node.
std::map<int, int> leaving(const Stage& from, const Stage& to) {
  std::map<int, int> devices;
  for (std::size_t i = 0; i < from.devices.size(); ++i) {
    if (from.devices[i].node != to.devices[i].node) ++devices[from.devices[i].node];
  }
  return devices;
}

/// The slowest of the messages that the ranks of a stage send side by side, with so many leaving each node.
double boundary_s(const Stage& from, const Stage& to, double bytes, const std::map<int, int>& leaving,
                  const CostModel& cost) {
  double slowest = 0;
  for (std::size_t i = 0; i < from.devices.size(); ++i) {
    const auto at = leaving.find(from.devices[i].node);
    const int concurrent = at == leaving.end() ? 1 : at->second;
    slowest = std::max(slowest, cost.send_s(bytes, from.devices[i], to.devices[i], concurrent));
  }
  return slowest;
}

/// How many messages leave each node at the same time when equally deep groups keep step: by depth, direction
/// and stage.
class LockStep {
 public:
  explicit LockStep(const Plan& plan) {
    for (const DeviceGroup& group : plan.groups) {
      const int depth = static_cast<int>(group.stages.size());
      for (int s = 0; s + 1 < depth; ++s) {
        const Stage& here = group.stages[static_cast<std::size_t>(s)];
        const Stage& next = group.stages[static_cast<std::size_t>(s) + 1];
        for (const auto& [node, devices] : leaving(here, next)) leaving_[{depth, 0, s}][node] += devices;
        for (const auto& [node, devices] : leaving(next, here)) leaving_[{depth, 1, s + 1}][node] += devices;
      }
    }
  }
  [[nodiscard]] const std::map<int, int>& forward(int depth, int stage) {
    return leaving_[{depth, 0, stage}];
  }
  [[nodiscard]] const std::map<int, int>& backward(int depth, int stage) {
    return leaving_[{depth, 1, stage}];
  }

 private:
  std::map<std::tuple<int, int, int>, std::map<int, int>> leaving_;
};

/// `boundaries`: seconds of both messages across each, as they share the nodes' NICs.
void estimate_pipeline(const DeviceGroup& group, const std::vector<StageExpectation>& stages,
                       const std::vector<double>& boundaries, PlanEstimate& found) {
  const std::size_t depth = stages.size();
  double period = 0;
  double round_trip = 0;  // from stage s to the last and back
  for (std::size_t s = 0; s < depth; ++s) {
    double window = 0;  // from stage s to stage t and back
    for (std::size_t t = s; t < depth; ++t) {
      if (t > s) window += boundaries[t - 1];
      window += stages[t].forward_s + stages[t].backward_s;
      period = std::max(period, window / static_cast<double>(t - s + 1));
    }
    if (s == 0) round_trip = window;
  }
  found.period_s.push_back(period);
  found.pipeline_s.push_back(round_trip + static_cast<double>(group.micro_batches - 1) * period);
}

/// Parameters of a segment on one device of an owner.
double segment_parameters(const Segment& segment, DeviceClass device, const Plan& plan, const CostModel& cost,
                          LayerCosts& layers) {
  const StageShape shape{plan.tensor_parallel, plan.context, plan.micro_batch};
  double parameters = 0;
  for (int layer = segment.first_layer; layer < segment.first_layer + segment.layers; ++layer) {
    parameters += layers.decoder(device, layer, Recompute::kNone).parameters;
  }
  if (segment.embedding) parameters += cost.embedding(device, shape).parameters;
  if (segment.head) parameters += cost.head(device, shape, plan.tied_embeddings).parameters;
  return parameters;
}

/// When each stage's communication is free again, and the runs of segments over it.
class SegmentReplay {
 public:
  SegmentReplay(const Plan& plan, const PlanEstimate& found) : plan_(plan), found_(found) {
    for (const DeviceGroup& group : plan.groups) free_.emplace_back(group.stages.size(), 0.0);
  }
  /// The moment an owner has the gradients of a segment: after its last backward has passed the layers.
  [[nodiscard]] double ready_s(const Segment& segment, std::size_t group, int stage) const {
    const auto& stages = found_.stages[group];
    double done = found_.pipeline_s[group];
    for (int s = 0; s < stage; ++s) {
      done -= stages[static_cast<std::size_t>(s)].backward_s +
              stages[static_cast<std::size_t>(s) + 1].send_gradient_s;
    }
    const Stage& held = plan_.groups[group].stages[static_cast<std::size_t>(stage)];
    const double below = segment.tied ? 0 : segment.first_layer - held.first_layer;
    return done - below / held.layers * stages[static_cast<std::size_t>(stage)].backward_s;
  }
  /// Starts when all owners are free and, if `wait`, ready. Returns the end.
  double run(const Segment& segment, double seconds, bool wait) {
    double start = 0;
    for (std::size_t group = 0; group < free_.size(); ++group) {
      for (const int stage : segment.owners[group]) {
        start = std::max(start, free_[group][static_cast<std::size_t>(stage)]);
        if (wait) start = std::max(start, ready_s(segment, group, stage));
      }
    }
    for (std::size_t group = 0; group < free_.size(); ++group) {
      for (const int stage : segment.owners[group])
        free_[group][static_cast<std::size_t>(stage)] = start + seconds;
    }
    return start + seconds;
  }

 private:
  const Plan& plan_;
  const PlanEstimate& found_;
  std::vector<std::vector<double>> free_;
};

/// What the rings of all segments put on each node's NIC, one way: they share it, whoever runs them.
class NicLoads {
 public:
  NicLoads(const CostModel& cost, int concurrent) : cost_(cost), concurrent_(concurrent) {
    reduce_s_.assign(cost.cluster().nodes.size(), 0);
    gather_s_.assign(cost.cluster().nodes.size(), 0);
  }
  /// One segment's ring over its members and its twins of the other tensor ranks.
  void add(const std::vector<DeviceSlot>& members, double gradients, double parameters) {
    auto& nodes = nodes_.emplace_back();
    for (const DeviceSlot slot : members) nodes.push_back(slot.node);
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    if (nodes.size() < 2) nodes.clear();
    const auto n = static_cast<double>(members.size());
    for (const int node : nodes) {
      const double per_byte = concurrent_ * (n - 1) / n / cost_.inter(node).bytes_per_s();
      reduce_s_[static_cast<std::size_t>(node)] += gradients * per_byte;
      gather_s_[static_cast<std::size_t>(node)] += parameters * per_byte;
    }
  }
  /// The last node's end when no byte of segment i leaves before starts[i].
  [[nodiscard]] double reduced_s(const std::vector<double>& starts) const {
    std::vector<double> first(reduce_s_.size(), std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (const int node : nodes_[i]) {
        first[static_cast<std::size_t>(node)] = std::min(first[static_cast<std::size_t>(node)], starts[i]);
      }
    }
    double end = 0;
    for (std::size_t node = 0; node < first.size(); ++node) {
      if (reduce_s_[node] > 0) end = std::max(end, first[node] + reduce_s_[node]);
    }
    return end;
  }
  [[nodiscard]] double gathered_s() const { return *std::max_element(gather_s_.begin(), gather_s_.end()); }

 private:
  const CostModel& cost_;
  int concurrent_;
  std::vector<std::vector<int>> nodes_;  // by segment; empty: inside one node
  std::vector<double> reduce_s_;         // by node
  std::vector<double> gather_s_;
};

void estimate_segments(const Plan& plan, const CostModel& cost, LayerCosts& layers, NicLoads& nics,
                       PlanEstimate& found) {
  for (const Segment& segment : derive_segments(plan)) {
    SegmentCost segment_cost;
    segment_cost.segment = segment;
    // Tensor rank 0's ring; the others run side by side over the same nodes.
    std::vector<DeviceSlot> members;
    for (std::size_t group = 0; group < plan.groups.size(); ++group) {
      for (const int stage : segment.owners[group]) {
        const Stage& owner = plan.groups[group].stages[static_cast<std::size_t>(stage)];
        for (std::size_t i = 0; i < owner.devices.size();
             i += static_cast<std::size_t>(plan.tensor_parallel)) {
          members.push_back(owner.devices[i]);
        }
      }
    }
    const double parameters =
        segment_parameters(segment, cost.device_class(members.front().node), plan, cost, layers);
    const CollectiveGroup ring{members, plan.tensor_parallel};
    segment_cost.bytes = parameters * cost.gradient_bytes();
    segment_cost.reduce_s = cost.reduce_scatter_s(segment_cost.bytes, ring);
    segment_cost.gather_s = cost.all_gather_s(parameters * cost.parameter_bytes(), ring);
    nics.add(members, segment_cost.bytes, parameters * cost.parameter_bytes());
    found.segments.push_back(std::move(segment_cost));
  }
}

/// What recomputing everything it can would bring the stage to.
std::string with_recompute(const Plan& plan, std::size_t group, std::size_t stage, const CostModel& cost) {
  Plan other = plan;
  Stage& changed = other.groups[group].stages[stage];
  std::fill(changed.recompute.begin(), changed.recompute.end(), Recompute::kSelective);
  if (changed.recompute == plan.groups[group].stages[stage].recompute)
    return "every layer recomputes already";
  const double bytes = estimate(other, cost).stages[group][stage].peak_bytes;
  return fmt::format("with recomputation in all its layers {:.2f} GiB", bytes / kGiB);
}

}  // namespace

PlanEstimate estimate(const Plan& plan, const CostModel& cost) {
  const StageShape shape{plan.tensor_parallel, plan.context, plan.micro_batch};
  const double bytes = cost.boundary_bytes(shape);
  LayerCosts layers(cost, shape);
  PlanEstimate found;
  LockStep lock_step(plan);
  for (const DeviceGroup& group : plan.groups) {
    const auto depth = static_cast<std::int64_t>(group.stages.size());
    std::vector<StageExpectation> stages;
    std::vector<double> boundaries;
    for (std::int64_t s = 0; s < depth; ++s) {
      const Stage& stage = group.stages[static_cast<std::size_t>(s)];
      StageExpectation expected;
      bool first_class = true;
      for (const DeviceClass device : classes_of(stage, cost)) {
        take_worse(expected,
                   stage_on(device, plan, stage, s == 0, s + 1 == depth,
                            std::min(depth - s, group.micro_batches), cost, layers),
                   first_class);
        first_class = false;
      }
      if (s + 1 < depth) {
        const Stage& next = group.stages[static_cast<std::size_t>(s) + 1];
        expected.send_activation_s = boundary_s(stage, next, bytes, leaving(stage, next), cost);
        const int at = static_cast<int>(s);
        boundaries.push_back(
            boundary_s(stage, next, bytes, lock_step.forward(static_cast<int>(depth), at), cost) +
            boundary_s(next, stage, bytes, lock_step.backward(static_cast<int>(depth), at + 1), cost));
      }
      if (s > 0) {
        const Stage& previous = group.stages[static_cast<std::size_t>(s) - 1];
        expected.send_gradient_s = boundary_s(stage, previous, bytes, leaving(stage, previous), cost);
      }
      found.update_s = std::max(found.update_s, expected.update_s);
      stages.push_back(expected);
    }
    estimate_pipeline(group, stages, boundaries, found);
    found.stages.push_back(std::move(stages));
  }
  NicLoads nics(cost, plan.tensor_parallel);
  estimate_segments(plan, cost, layers, nics, found);
  const double slowest = *std::max_element(found.pipeline_s.begin(), found.pipeline_s.end());
  SegmentReplay reduce(plan, found);
  SegmentReplay gather(plan, found);
  std::vector<double> starts;
  for (const SegmentCost& segment : found.segments) {
    const double end = reduce.run(segment.segment, segment.reduce_s, true);
    starts.push_back(end - segment.reduce_s);
    found.sync_exposed_s = std::max(found.sync_exposed_s, end - slowest);
    found.gather_s = std::max(found.gather_s, gather.run(segment.segment, segment.gather_s, false));
  }
  found.sync_exposed_s = std::max(found.sync_exposed_s, nics.reduced_s(starts) - slowest);
  found.gather_s = std::max(found.gather_s, nics.gathered_s());
  found.iteration_s = slowest + found.sync_exposed_s + found.update_s + found.gather_s;
  return found;
}

void set_expectations(Plan& plan, const PlanEstimate& estimate) {
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    for (std::size_t s = 0; s < plan.groups[j].stages.size(); ++s) {
      plan.groups[j].stages[s].expected = estimate.stages[j][s];
    }
    plan.groups[j].period_s = estimate.period_s[j];
    plan.groups[j].pipeline_s = estimate.pipeline_s[j];
  }
  plan.expected.iteration_s = estimate.iteration_s;
  plan.expected.sync_exposed_s = estimate.sync_exposed_s;
  plan.expected.update_s = estimate.update_s;
  plan.expected.gather_s = estimate.gather_s;
}

Status check_plan(const Plan& plan, const CostModel& cost, const std::string& file) {
  TS_TRY(check_structure(plan, file, cost.model(), cost.cluster(), cost.train()));
  const PlanEstimate found = estimate(plan, cost);
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    for (std::size_t s = 0; s < plan.groups[j].stages.size(); ++s) {
      const StageExpectation& expected = found.stages[j][s];
      if (expected.peak_bytes <= expected.capacity_bytes) continue;
      const Stage& stage = plan.groups[j].stages[s];
      return bad_input(
          {file, fmt::format("groups[{}].stages[{}]", j, s),
           fmt::format("layers {} to {} need {:.2f} GiB on {}; {}", stage.first_layer,
                       stage.first_layer + stage.layers - 1, expected.peak_bytes / kGiB,
                       plan.nodes[static_cast<std::size_t>(stage.devices.front().node)].device,
                       with_recompute(plan, j, s, cost)),
           fmt::format("at most the {:.2f} GiB that are free there", expected.capacity_bytes / kGiB),
           "hold fewer layers there, recompute, or choose a smaller micro-batch"});
    }
  }
  return {};
}

Status check_plan(const Plan& plan, const ModelSpec& model, const ClusterSpec& cluster,
                  const TrainSpec& train, const std::string& file) {
  const CostModel cost = TS_TRY(CostModel::create(model, cluster, train, std::nullopt, plan.precision));
  return check_plan(plan, cost, file);
}

}  // namespace tessera::planner
