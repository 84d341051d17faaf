#include "planner/tools/grid_command.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "planner/sim/plan_iteration.h"
#include "planner/spec/device_table.h"
#include "planner/tools/find_plan.h"
#include "planner/tools/plan_report.h"

namespace tessera::planner::tools {
namespace {

struct Options {
  PlanChoices choices;
  std::vector<std::string> models;
  std::vector<std::string> mixes;
};

/// Llama 2 (Touvron et al. 2023, arXiv:2307.09288), and how many nodes of each type and sequences per step.
struct SizedModel {
  const char* name;
  std::int64_t hidden, intermediate;
  int layers, heads, kv_heads;
  int nodes;  // of eight devices, of each type
  std::int64_t global_batch;
};
constexpr std::array<SizedModel, 3> kModels{{
    {"7B", 4096, 11008, 32, 32, 32, 1, 256},
    {"13B", 5120, 13824, 40, 40, 40, 2, 512},
    {"70B", 8192, 28672, 80, 64, 8, 8, 1024},
}};

constexpr int kDevicesPerNode = 8;

struct Network {
  const char* device;
  double gb_per_s;  // of a node, one way
};
/// As such nodes are rented or built: 200 Gbit/s, 400 Gbit/s, 400, 100, 100.
constexpr std::array<Network, 5> kDevices{
    {{"A100-40", 25}, {"H800", 50}, {"H20", 50}, {"L40S", 12.5}, {"RTX 4090", 12.5}}};

ModelSpec model_of(const SizedModel& sized) {
  ModelSpec model;
  model.hidden_size = sized.hidden;
  model.intermediate_size = sized.intermediate;
  model.layers = sized.layers;
  model.heads = sized.heads;
  model.kv_heads = sized.kv_heads;
  model.head_dim = static_cast<int>(sized.hidden / sized.heads);
  model.vocab_size = 32000;
  model.max_position_embeddings = 4096;
  return model;
}

/// Which devices, and how many times the model's number of nodes of each.
struct Part {
  std::size_t device = 0;
  int times = 1;
};
using Mix = std::vector<Part>;

ClusterSpec cluster_of(const Mix& mix, int nodes) {
  ClusterSpec cluster;
  for (const auto& [index, times] : mix) {
    cluster.types.push_back(*find_device_type(kDevices[index].device));
    for (int n = 0; n < nodes * times; ++n) {
      NodeSpec node;
      node.name = fmt::format("{}-{}", kDevices[index].device, n);
      node.type = static_cast<int>(cluster.types.size()) - 1;
      node.devices = kDevicesPerNode;
      node.intra = default_intra_link(cluster.types.back());
      node.inter = default_inter_link(kDevices[index].gb_per_s * 1e9);
      cluster.nodes.push_back(std::move(node));
    }
  }
  return cluster;
}

/// "24 A100-40 + 8 H800".
std::string mix_name(const Mix& mix, int nodes) {
  std::vector<std::string> names;
  for (const auto& [index, times] : mix) {
    names.push_back(fmt::format("{} {}", kDevicesPerNode * nodes * times, kDevices[index].device));
  }
  return fmt::format("{}", fmt::join(names, " + "));
}

/// All pairs, the paper's three, all five; then uneven ones, in which the slower type brings about as many
/// FLOPS as the faster, so that leaving either out costs most.
std::vector<Mix> mixes() {
  constexpr std::size_t kA100 = 0;
  constexpr std::size_t kH800 = 1;
  constexpr std::size_t kH20 = 2;
  constexpr std::size_t kL40s = 3;
  constexpr std::size_t k4090 = 4;
  std::vector<Mix> out;
  for (std::size_t a = 0; a < kDevices.size(); ++a) {
    for (std::size_t b = a + 1; b < kDevices.size(); ++b) out.push_back({{a, 1}, {b, 1}});
  }
  out.push_back({{kA100, 1}, {kH800, 1}, {kH20, 1}});
  out.push_back({{kA100, 1}, {kH800, 1}, {kH20, 1}, {kL40s, 1}, {k4090, 1}});
  out.push_back({{kA100, 3}, {kH800, 1}});
  out.push_back({{kH800, 1}, {kH20, 6}});
  out.push_back({{kA100, 1}, {kH20, 2}});
  out.push_back({{kA100, 3}, {kH800, 1}, {kH20, 6}});
  return out;
}

bool wanted(const std::vector<std::string>& list, const std::string& name) {
  return list.empty() || std::ranges::find(list, name) != list.end();
}

std::string seconds(double value) { return value > 0 ? fmt::format("{:.3g}", value) : "-"; }
std::string ratio(double slower, double faster) {
  return slower > 0 && faster > 0 ? fmt::format("{:.2f}", slower / faster) : "-";
}

/// Simulated seconds of a step; 0 when nothing fits.
double step_s(const Result<Plan>& plan, const CostModel& cost) {
  return plan.ok() ? sim::simulate_plan(plan.value(), cost).timeline.iteration_s : 0;
}

Status run(const Options& options) {
  fmt::print(
      "| model | devices | symmetric over all s | symmetric s | by FLOPS s | Tessera s | vs all | vs "
      "symmetric "
      "| vs FLOPS | gap | plan |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  PlanChoices everything = options.choices;
  everything.idle_types = false;
  for (const SizedModel& sized : kModels) {
    if (!wanted(options.models, sized.name)) continue;
    for (const auto& mix : mixes()) {
      if (!wanted(options.mixes, mix_name(mix, sized.nodes))) continue;
      TrainSpec train;
      train.sequence_length = 4096;
      train.global_batch = sized.global_batch;
      const CostModel cost = TS_TRY(CostModel::create(model_of(sized), cluster_of(mix, sized.nodes), train));
      const double all = step_s(find_plan(System::kMegatron, cost, everything), cost);
      const double megatron = step_s(find_plan(System::kMegatron, cost, options.choices), cost);
      const double whale = step_s(find_plan(System::kWhale, cost, options.choices), cost);
      const Result<Plan> plan = find_plan(System::kTessera, cost, options.choices);
      const double tessera = step_s(plan, cost);
      fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", sized.name,
                 mix_name(mix, sized.nodes), seconds(all), seconds(megatron), seconds(whale),
                 seconds(tessera), ratio(all, tessera), ratio(megatron, tessera), ratio(whale, tessera),
                 plan.ok() && plan.value().expected.lower_bound_s > 0
                     ? fmt::format("{:.1f} %", 100 * plan.value().expected.gap)
                     : "-",
                 plan.ok() ? shape_text(plan.value()) : "nothing fits");
      std::fflush(stdout);
    }
  }
  return {};
}

}  // namespace

Command add_grid_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("grid", "compare with the baselines over mixes of devices and models");
  auto options = std::make_shared<Options>();
  declare_choices(*app, options->choices);
  app->add_option("--models", options->models, "of 7B, 13B, 70B; default: all")->delimiter(',');
  app->add_option("--mixes", options->mixes,
                  "as \"8 H800 + 8 H20\"; default: every pair, some threes, all five, uneven ones")
      ->delimiter(',');
  app->footer(
      "Symmetric: Megatron-like, over all devices or leaving types idle. By FLOPS: Whale-like.\n"
      "Sequences of 4096 tokens; 8 devices of each type and 256 sequences per step for 7B, 16 and 512 for "
      "13B,\n"
      "64 and 1024 for 70B. Prints a Markdown table; step times are simulated.\n\n"
      "  tessera-plan grid --time-limit 30");
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::planner::tools
