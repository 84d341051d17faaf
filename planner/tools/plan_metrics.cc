#include "planner/tools/plan_metrics.h"

#include <algorithm>
#include <cstddef>

namespace tessera::planner::tools {
namespace {

constexpr double kStateBytesPerParameter = 12;  // fp32 master weight and two moments

std::optional<double> usd_per_million_tokens(std::optional<double> usd_per_hour, double tokens_per_s) {
  if (!usd_per_hour) return {};
  return *usd_per_hour / 3600 / tokens_per_s * 1e6;
}

/// Optimizer state on each node: every owner of a segment holds an equal shard of it.
std::vector<double> state_bytes(const Plan& plan, const CostModel& cost, const PlanEstimate& estimate) {
  std::vector<double> bytes(plan.nodes.size());
  for (const SegmentCost& segment : estimate.segments) {
    std::vector<int> nodes;  // of the owners, a device each
    for (std::size_t g = 0; g < segment.segment.owners.size(); ++g) {
      for (const int s : segment.segment.owners[g]) {
        for (const DeviceSlot& slot : plan.groups[g].stages[static_cast<std::size_t>(s)].devices) {
          nodes.push_back(slot.node);
        }
      }
    }
    // bytes: of one tensor rank's gradients; there are tensor_parallel of them, spread over all these
    // devices.
    const double parameters = segment.bytes / cost.gradient_bytes() * plan.tensor_parallel;
    for (const int node : nodes) {
      bytes[static_cast<std::size_t>(node)] +=
          parameters * kStateBytesPerParameter / static_cast<double>(nodes.size());
    }
  }
  return bytes;
}

}  // namespace

double model_flops_per_token(const ModelSpec& model, std::int64_t sequence_length) {
  const double embedding = static_cast<double>(model.vocab_size) * static_cast<double>(model.hidden_size);
  // A tied matrix is counted once by parameters() and used once in a product; an untied lookup is no product.
  const double multiplied =
      static_cast<double>(model.parameters()) - (model.tie_word_embeddings ? 0 : embedding);
  // Scores and values: 2 products of 2 FLOPs per pair, three times with backward, half the pairs.
  const double attention =
      6.0 * model.layers * model.heads * model.head_dim * static_cast<double>(sequence_length);
  return 6 * multiplied + attention;
}

PlanMetrics plan_metrics(const Plan& plan, const CostModel& cost, const sim::PlanSimulation& simulation,
                         const RecoveryAssumptions& assumptions) {
  const ClusterSpec& cluster = cost.cluster();
  PlanMetrics metrics;
  const double tokens = static_cast<double>(plan.global_batch) * static_cast<double>(plan.sequence_length);
  metrics.tokens_per_s = tokens / simulation.timeline.iteration_s;
  metrics.model_flops_per_s =
      metrics.tokens_per_s * model_flops_per_token(cost.model(), plan.sequence_length);
  metrics.bubble = sim::bubble_share(simulation.timeline);

  std::vector<int> used(plan.nodes.size());
  for (const DeviceGroup& group : plan.groups) {
    for (const Stage& stage : group.stages) {
      for (const DeviceSlot& slot : stage.devices) ++used[static_cast<std::size_t>(slot.node)];
    }
  }
  const std::vector<double> state = state_bytes(plan, cost, simulation.estimate);
  const auto used_nodes = std::ranges::count_if(used, [](int devices) { return devices > 0; });
  std::optional<double> price = 0;
  std::optional<double> spot = 0;
  const auto add = [](std::optional<double>& sum, const std::optional<double>& part) {
    sum = sum && part ? std::optional(*sum + *part) : std::nullopt;
  };
  for (std::size_t n = 0; n < used.size(); ++n) {
    const NodeSpec& node = cluster.nodes[n];
    if (used[n] > 0) {
      add(price, node.price_per_hour);
      add(spot, node.spot_price_per_hour);
      if (!node.price_per_hour) metrics.unpriced.push_back(node.name);
      metrics.peak_flops += cluster.type_of(node).peak_flops * node.speed * used[n];
      metrics.used_devices += used[n];
    }
    NodeMetrics row{node.name, node.devices, used[n], state[n], {}, 0};
    const double fixed = assumptions.detect_s + assumptions.restart_s;
    const double rate = cost.inter(static_cast<int>(n)).bytes_per_s();
    if (used_nodes > 1 && rate > 0) row.recovery_peers_s = fixed + state[n] / rate;
    row.recovery_cloud_s = fixed + state[n] / assumptions.cloud_bytes_per_s;
    metrics.nodes.push_back(row);
  }
  metrics.mfu = metrics.model_flops_per_s / metrics.peak_flops;
  metrics.usd_per_million_tokens = usd_per_million_tokens(price, metrics.tokens_per_s);
  metrics.spot_usd_per_million_tokens = usd_per_million_tokens(spot, metrics.tokens_per_s);
  return metrics;
}

}  // namespace tessera::planner::tools
