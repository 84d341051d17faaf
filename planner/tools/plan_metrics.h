/// What a simulated plan means to the person who pays for it: throughput, utilisation, price, recovery.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/cost/cost.h"
#include "planner/plan/plan.h"
#include "planner/sim/plan_iteration.h"

namespace tessera::planner::tools {

/// What a spec cannot know about recovery; printed with the estimate.
struct RecoveryAssumptions {
  double detect_s = 10;            // until the job knows that a node is gone
  double restart_s = 30;           // new plan (cached), processes, communicators
  double cloud_bytes_per_s = 1e9;  // object store, all nodes together
};

/// A node and its loss. The node's state is its optimizer shards (master weights and moments, 12 bytes per
/// parameter); 16-bit weights are derived from them. A replacement fetches it from the copies that the other
/// nodes keep, through its own NIC, or from the object store.
struct NodeMetrics {
  std::string name;
  int devices = 0;       // of the node
  int used_devices = 0;  // by the plan
  double state_bytes = 0;
  std::optional<double> recovery_peers_s;  // none: no other node is used
  double recovery_cloud_s = 0;
};

struct PlanMetrics {
  double tokens_per_s = 0;
  double model_flops_per_s = 0;  // forward and backward of the model, without recomputation
  double peak_flops = 0;         // of the devices used
  double mfu = 0;                // model FLOPs utilisation
  double bubble = 0;             // share of the used devices' pipeline time without computation
  int used_devices = 0;
  // Of the nodes that the plan uses; none where a price is missing.
  std::optional<double> usd_per_million_tokens;
  std::optional<double> spot_usd_per_million_tokens;
  std::vector<std::string> unpriced;  // used nodes without an on-demand price
  std::vector<NodeMetrics> nodes;
};

/// 6 FLOPs per token and parameter that a product uses, and 6 * layers * heads * head width * sequence for
/// causal attention, of which only half the square counts.
[[nodiscard]] double model_flops_per_token(const ModelSpec& model, std::int64_t sequence_length);

[[nodiscard]] PlanMetrics plan_metrics(const Plan& plan, const CostModel& cost,
                                       const sim::PlanSimulation& simulation,
                                       const RecoveryAssumptions& assumptions = {});

}  // namespace tessera::planner::tools
