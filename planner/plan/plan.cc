#include "planner/plan/plan.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::planner {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

/// "a:0-3 b:0,2": devices of a stage, node by node in the order of the cells.
std::string devices_text(const Plan& plan, const Stage& stage) {
  std::string text;
  for (std::size_t i = 0; i < stage.devices.size();) {
    const int node = stage.devices[i].node;
    const int first = stage.devices[i].device;
    std::size_t end = i + 1;
    while (end < stage.devices.size() && stage.devices[end].node == node &&
           stage.devices[end].device == first + static_cast<int>(end - i)) {
      ++end;
    }
    const int last = first + static_cast<int>(end - i) - 1;
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", plan.nodes[static_cast<std::size_t>(node)].name,
                        first);
    if (last > first) text += fmt::format("-{}", last);
    i = end;
  }
  return text;
}

std::string recompute_text(const Stage& stage) {
  std::string text;
  for (const Recompute kind : {Recompute::kSelective, Recompute::kFull}) {
    const auto count = std::count(stage.recompute.begin(), stage.recompute.end(), kind);
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, recompute_name(kind));
  }
  return text.empty() ? "-" : text;
}

/// Lines of differences, up to a limit.
class Differences {
 public:
  explicit Differences(int most) : most_(most) {}
  template <class T>
  void compare(const std::string& what, const T& a, const T& b) {
    if (a == b) return;
    if (count_++ < most_) text_ += fmt::format("{}: {} and {}\n", what, a, b);
  }
  [[nodiscard]] std::string text() const {
    if (count_ <= most_) return text_;
    return text_ + fmt::format("and {} more differences\n", count_ - most_);
  }

 private:
  int most_;
  int count_ = 0;
  std::string text_;
};

void compare_stages(Differences& found, const std::string& at, const Plan& a, const Plan& b,
                    const Stage& left, const Stage& right) {
  found.compare(at + "devices", devices_text(a, left), devices_text(b, right));
  found.compare(at + "first layer", left.first_layer, right.first_layer);
  found.compare(at + "layers", left.layers, right.layers);
  found.compare(at + "recompute", recompute_text(left), recompute_text(right));
  if (recompute_text(left) == recompute_text(right)) {
    found.compare(at + "recomputed layers are the same", true, left.recompute == right.recompute);
  }
  found.compare(at + "forward_s", left.expected.forward_s, right.expected.forward_s);
  found.compare(at + "backward_s", left.expected.backward_s, right.expected.backward_s);
  found.compare(at + "peak_bytes", left.expected.peak_bytes, right.expected.peak_bytes);
  found.compare(at + "expectation is the same", true, left.expected == right.expected);
}

}  // namespace

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kFp32: return "fp32";
    case Precision::kBf16: return "bf16";
    case Precision::kFp16: return "fp16";
  }
  return "";
}

const char* recompute_name(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone: return "none";
    case Recompute::kSelective: return "selective";
    case Recompute::kFull: return "full";
  }
  return "";
}

int Plan::ranks() const {
  int stages = 0;
  for (const DeviceGroup& group : groups) stages += static_cast<int>(group.stages.size());
  return stages * stage_devices();
}

int Plan::max_stages() const {
  std::size_t most = 0;
  for (const DeviceGroup& group : groups) most = std::max(most, group.stages.size());
  return static_cast<int>(most);
}

std::int64_t Plan::micro_batches() const { return first_micro_batch(static_cast<int>(groups.size())); }

std::int64_t Plan::first_micro_batch(int group) const {
  std::int64_t sum = 0;
  for (int j = 0; j < group; ++j) sum += groups[static_cast<std::size_t>(j)].micro_batches;
  return sum;
}

std::vector<RankPlace> rank_places(const Plan& plan) {
  std::vector<RankPlace> places;
  places.reserve(static_cast<std::size_t>(plan.ranks()));
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    const auto& stages = plan.groups[group].stages;
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      for (int i = 0; i < plan.stage_devices(); ++i) {
        places.push_back({static_cast<int>(group), static_cast<int>(stage), i / plan.tensor_parallel,
                          i % plan.tensor_parallel, stages[stage].devices[static_cast<std::size_t>(i)]});
      }
    }
  }
  return places;
}

Rank rank_of(const Plan& plan, int group, int stage, int cell, int tensor) {
  int stages = stage;
  for (int j = 0; j < group; ++j) {
    stages += static_cast<int>(plan.groups[static_cast<std::size_t>(j)].stages.size());
  }
  return Rank(stages * plan.stage_devices() + cell * plan.tensor_parallel + tensor);
}

int stage_of_layer(const DeviceGroup& group, int layer) {
  const auto after =
      std::upper_bound(group.stages.begin(), group.stages.end(), layer,
                       [](int wanted, const Stage& stage) { return wanted < stage.first_layer; });
  TS_REQUIRE(after != group.stages.begin(), layer);
  return static_cast<int>(std::distance(group.stages.begin(), after)) - 1;
}

std::string to_text(const Plan& plan) {
  std::string text = fmt::format(
      "{} ranks in {} groups: tensor parallel {}, context mesh {}, micro-batch {} of {} tokens, {}\n",
      plan.ranks(), plan.groups.size(), plan.tensor_parallel, to_string(plan.context), plan.micro_batch,
      plan.sequence_length, precision_name(plan.precision));
  for (std::size_t j = 0; j < plan.groups.size(); ++j) {
    const DeviceGroup& group = plan.groups[j];
    text += fmt::format("group {}: {} micro-batches", j, group.micro_batches);
    if (group.pipeline_s > 0) text += fmt::format(", {:.4g} s", group.pipeline_s);
    text += "\n";
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      const Stage& stage = group.stages[s];
      text +=
          fmt::format("  stage {:>2}  layers {:>3}-{:<3}  {}  recompute {}", s, stage.first_layer,
                      stage.first_layer + stage.layers - 1, devices_text(plan, stage), recompute_text(stage));
      const StageExpectation& expected = stage.expected;
      if (expected.capacity_bytes > 0) {
        text += fmt::format("  {:.4g} + {:.4g} s  {:.2f} of {:.2f} GiB", expected.forward_s,
                            expected.backward_s, expected.peak_bytes / kGiB, expected.capacity_bytes / kGiB);
      }
      text += "\n";
    }
  }
  const PlanExpectation& expected = plan.expected;
  if (expected.iteration_s > 0) {
    text += fmt::format("iteration {:.4g} s: exposed reduction {:.3g}, update {:.3g}, gather {:.3g}\n",
                        expected.iteration_s, expected.sync_exposed_s, expected.update_s, expected.gather_s);
  }
  if (expected.evaluated > 0) {
    text += fmt::format("lower bound {:.4g} s, gap {:.2f} %, {} plans evaluated\n", expected.lower_bound_s,
                        100 * expected.gap, expected.evaluated);
  }
  return text;
}

std::string plan_differences(const Plan& a, const Plan& b, int most) {
  Differences found(most);
  found.compare("layers", a.layers, b.layers);
  found.compare("tied embeddings", a.tied_embeddings, b.tied_embeddings);
  found.compare("parameters", a.parameters, b.parameters);
  found.compare("sequence length", a.sequence_length, b.sequence_length);
  found.compare("global batch", a.global_batch, b.global_batch);
  found.compare("precision", std::string(precision_name(a.precision)),
                std::string(precision_name(b.precision)));
  found.compare("tensor parallel", a.tensor_parallel, b.tensor_parallel);
  found.compare("context mesh", to_string(a.context), to_string(b.context));
  found.compare("micro-batch", a.micro_batch, b.micro_batch);
  found.compare("nodes", a.nodes.size(), b.nodes.size());
  for (std::size_t i = 0; i < std::min(a.nodes.size(), b.nodes.size()); ++i) {
    const std::string at = fmt::format("node {} ", i);
    found.compare(at + "name", a.nodes[i].name, b.nodes[i].name);
    found.compare(at + "device", a.nodes[i].device, b.nodes[i].device);
    found.compare(at + "devices", a.nodes[i].devices, b.nodes[i].devices);
  }
  found.compare("groups", a.groups.size(), b.groups.size());
  for (std::size_t j = 0; j < std::min(a.groups.size(), b.groups.size()); ++j) {
    const DeviceGroup& left = a.groups[j];
    const DeviceGroup& right = b.groups[j];
    const std::string at = fmt::format("group {} ", j);
    found.compare(at + "micro-batches", left.micro_batches, right.micro_batches);
    found.compare(at + "stages", left.stages.size(), right.stages.size());
    found.compare(at + "period_s", left.period_s, right.period_s);
    found.compare(at + "pipeline_s", left.pipeline_s, right.pipeline_s);
    for (std::size_t s = 0; s < std::min(left.stages.size(), right.stages.size()); ++s) {
      compare_stages(found, fmt::format("group {} stage {} ", j, s), a, b, left.stages[s], right.stages[s]);
    }
  }
  found.compare("iteration_s", a.expected.iteration_s, b.expected.iteration_s);
  found.compare("expectation is the same", true, a.expected == b.expected);
  return found.text();
}

}  // namespace tessera::planner
