#include "planner/plan/check_structure.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

namespace tessera::planner {
namespace {

const char* const kRemedy = "make the plan again with tessera-plan";
constexpr std::int64_t kMostStageDevices = 1 << 20;

class Judge {
 public:
  explicit Judge(std::string file) : file_(std::move(file)) {}

  [[nodiscard]] Status refuse(const std::string& field, const std::string& found, const std::string& expected,
                              const std::string& remedy = kRemedy) const {
    return bad_input({file_, field, found, expected, remedy});
  }
  template <class T>
  [[nodiscard]] Status same(const std::string& field, const T& found, const T& expected,
                            const std::string& of) const {
    if (found == expected) return {};
    return refuse(field, fmt::format("{}", found), fmt::format("{}, as {} says", expected, of));
  }

 private:
  std::string file_;
};

Status check_numbers(const Plan& plan, const Judge& judge) {
  const auto at_least_one = [&](const char* field, std::int64_t value) {
    return value >= 1 ? Status() : judge.refuse(field, fmt::format("{}", value), "at least 1");
  };
  TS_TRY(at_least_one("layers", plan.layers));
  TS_TRY(at_least_one("sequence_length", plan.sequence_length));
  TS_TRY(at_least_one("global_batch", plan.global_batch));
  TS_TRY(at_least_one("tensor_parallel", plan.tensor_parallel));
  TS_TRY(at_least_one("micro_batch", plan.micro_batch));
  TS_TRY(at_least_one("context", plan.context.ranks()));
  if (std::int64_t{plan.tensor_parallel} * plan.context.ranks() > kMostStageDevices) {
    return judge.refuse("context",
                        fmt::format("{} x {} devices per stage", plan.context.ranks(), plan.tensor_parallel),
                        fmt::format("at most {}", kMostStageDevices));
  }
  if (plan.groups.empty()) return judge.refuse("groups", "none", "at least one");
  std::int64_t sum = 0;
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    TS_TRY(at_least_one(fmt::format("groups[{}].micro_batches", j).c_str(), plan.groups[j].micro_batches));
    sum += std::min(plan.groups[j].micro_batches, plan.global_batch + 1);
  }
  if (plan.global_batch % plan.micro_batch != 0 || plan.global_batch / plan.micro_batch != sum) {
    return judge.refuse("global_batch", fmt::format("{} sequences", plan.global_batch),
                        fmt::format("micro_batch x all micro-batches = {} x {}", plan.micro_batch, sum));
  }
  return {};
}

Status check_nodes(const Plan& plan, const Judge& judge) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& node = plan.nodes[i];
    if (!names.insert(node.name).second) {
      return judge.refuse(fmt::format("nodes[{}].name", i), node.name, "distinct names");
    }
    if (node.devices < 1) {
      return judge.refuse(fmt::format("nodes[{}].devices", i), fmt::format("{}", node.devices), "at least 1");
    }
  }
  return {};
}

Status check_layers(const DeviceGroup& group, int layers, const std::string& at, const Judge& judge) {
  if (group.stages.empty()) return judge.refuse(at + "stages", "none", "at least one");
  int next = 0;
  for (std::size_t s = 0; s < group.stages.size(); ++s) {
    const Stage& stage = group.stages[s];
    const std::string stage_at = fmt::format("{}stages[{}].", at, s);
    if (stage.first_layer != next) {
      return judge.refuse(stage_at + "first_layer", fmt::format("{}", stage.first_layer),
                          fmt::format("{}: each layer once, in order", next));
    }
    if (stage.layers < 1 || stage.layers > layers - next) {
      return judge.refuse(stage_at + "layers", fmt::format("{} from layer {} on", stage.layers, next),
                          fmt::format("1 to {}", layers - next));
    }
    if (static_cast<int>(stage.recompute.size()) != stage.layers) {
      return judge.refuse(stage_at + "recompute", fmt::format("{} entries", stage.recompute.size()),
                          fmt::format("one per layer, {}", stage.layers));
    }
    next += stage.layers;
  }
  if (next != layers) {
    return judge.refuse(at + "stages", fmt::format("layers 0 to {}", next - 1),
                        fmt::format("layers 0 to {}", layers - 1));
  }
  return {};
}

Status check_devices(const Plan& plan, const Stage& stage, const std::string& at, std::set<DeviceSlot>& used,
                     const Judge& judge) {
  if (static_cast<int>(stage.devices.size()) != plan.stage_devices()) {
    return judge.refuse(
        at, fmt::format("{} devices", stage.devices.size()),
        fmt::format("context ranks x tensor parallel = {} x {}", plan.context.ranks(), plan.tensor_parallel));
  }
  for (std::size_t i = 0; i < stage.devices.size(); ++i) {
    const DeviceSlot slot = stage.devices[i];
    const std::string found = fmt::format("node {} device {}", slot.node, slot.device);
    const bool known = slot.node >= 0 && slot.node < static_cast<int>(plan.nodes.size()) &&
                       slot.device >= 0 &&
                       slot.device < plan.nodes[static_cast<std::size_t>(slot.node)].devices;
    if (!known) return judge.refuse(at, found, "devices of the plan's nodes");
    if (!used.insert(slot).second)
      return judge.refuse(at, found + " a second time", "each device at most once");
    const std::size_t first = i - i % static_cast<std::size_t>(plan.tensor_parallel);
    if (slot.node != stage.devices[first].node) {
      return judge.refuse(
          at,
          fmt::format("cell {} on nodes {} and {}", i / static_cast<std::size_t>(plan.tensor_parallel),
                      stage.devices[first].node, slot.node),
          "all tensor-parallel ranks of a cell on one node");
    }
  }
  return {};
}

Status check_model(const Plan& plan, const ModelSpec& model, const Judge& judge) {
  TS_TRY(judge.same("layers", plan.layers, model.layers, "the model"));
  TS_TRY(judge.same("parameters", plan.parameters, model.parameters(), "the model"));
  TS_TRY(judge.same("tied_embeddings", plan.tied_embeddings, model.tie_word_embeddings, "the model"));
  const auto divides = [&](const char* field, std::int64_t degree, const char* what, std::int64_t size) {
    return size % degree == 0 ? Status()
                              : judge.refuse(field, fmt::format("{}", degree),
                                             fmt::format("a divisor of the model's {} {}", size, what));
  };
  const std::int64_t heads = std::int64_t{plan.tensor_parallel} * plan.context.heads;
  TS_TRY(divides("tensor_parallel", plan.tensor_parallel, "heads", model.heads));
  TS_TRY(divides("tensor_parallel", plan.tensor_parallel, "key/value heads", model.kv_heads));
  if (plan.tensor_parallel > std::min(model.intermediate_size, model.vocab_size)) {
    return judge.refuse("tensor_parallel", fmt::format("{}", plan.tensor_parallel),
                        fmt::format("at most the model's {} feed-forward rows and {} vocabulary entries",
                                    model.intermediate_size, model.vocab_size));
  }
  TS_TRY(divides("tensor_parallel x context heads", heads, "heads", model.heads));
  TS_TRY(divides("tensor_parallel x context heads", heads, "key/value heads", model.kv_heads));
  return {};
}

Status check_cluster(const Plan& plan, const ClusterSpec& cluster, const Judge& judge) {
  TS_TRY(judge.same("nodes", plan.nodes.size(), cluster.nodes.size(), "the cluster"));
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const NodeSpec& node = cluster.nodes[i];
    const std::string at = fmt::format("nodes[{}].", i);
    TS_TRY(judge.same(at + "name", plan.nodes[i].name, node.name, "the cluster"));
    TS_TRY(judge.same(at + "device", plan.nodes[i].device, cluster.type_of(node).name, "the cluster"));
    TS_TRY(judge.same(at + "devices", plan.nodes[i].devices, node.devices, "the cluster"));
  }
  if (plan.precision == Precision::kFp32) return {};
  for (const RankPlace& place : rank_places(plan)) {
    const NodeSpec& node = cluster.nodes[static_cast<std::size_t>(place.slot.node)];
    const DeviceType& type = cluster.type_of(node);
    const bool able = type.kind == DeviceKind::kGpu && (plan.precision == Precision::kFp16 || type.bf16);
    if (!able) {
      return judge.refuse("precision", precision_name(plan.precision),
                          fmt::format("a format that {} on {} computes in", type.name, node.name));
    }
  }
  return {};
}

}  // namespace

Status check_structure(const Plan& plan, const std::string& file) {
  const Judge judge(file);
  TS_TRY(check_numbers(plan, judge));
  TS_TRY(check_nodes(plan, judge));
  std::set<DeviceSlot> used;
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    const std::string at = fmt::format("groups[{}].", j);
    TS_TRY(check_layers(plan.groups[j], plan.layers, at, judge));
    for (std::size_t s = 0; s < plan.groups[j].stages.size(); ++s) {
      TS_TRY(check_devices(plan, plan.groups[j].stages[s], fmt::format("{}stages[{}].devices", at, s), used,
                           judge));
    }
  }
  return {};
}

Status check_structure(const Plan& plan, const std::string& file, const ModelSpec& model,
                       const ClusterSpec& cluster, const TrainSpec& train) {
  TS_TRY(check_structure(plan, file));
  const Judge judge(file);
  TS_TRY(check_model(plan, model, judge));
  TS_TRY(judge.same("sequence_length", plan.sequence_length, train.sequence_length, "the training run"));
  TS_TRY(judge.same("global_batch", plan.global_batch, train.global_batch, "the training run"));
  return check_cluster(plan, cluster, judge);
}

}  // namespace tessera::planner
