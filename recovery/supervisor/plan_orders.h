/// Plans for sets of nodes, from tessera-plan as a process: it can be slow, run out of memory or crash
/// without taking the supervisor along. A plan is kept and never asked for twice.
///
///   <state>/plans/<key>/cluster.json    the nodes     plan.json    the answer     log.txt    what was
///   printed
///                                                     none         nothing fits these
///
/// The key is a checksum of the cluster and of everything else that the planner is told. A file has its name
/// once it is whole.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/cluster_spec.h"
#include "recovery/membership/membership.h"
#include "recovery/supervisor/processes.h"

namespace tessera::recovery {

struct PlannerSetup {
  std::string program = "tessera-plan";
  std::vector<std::string> arguments;  // --model, --train and what else holds for every plan
  std::string identity;                // text that changes when an answer would: the train.json, the model's
  std::string folder;                  // <state>/plans
  double limit_s = 300;                // for one plan
};

struct PlanAnswer {
  NodeSet offered;
  std::optional<PlanChoice> plan;  // nullopt: nothing fits
  std::string problem;             // then: what the planner said
};

class PlanOrders {
 public:
  /// `cluster.nodes` are the nodes that NodeSets number. Plans of earlier supervisors hold; what did not fit
  /// is asked again, as the user may have put something right.
  PlanOrders(PlannerSetup setup, planner::ClusterSpec cluster);
  ~PlanOrders();
  PlanOrders(const PlanOrders&) = delete;
  PlanOrders& operator=(const PlanOrders&) = delete;

  /// To be answered by poll(); before everything that was only to be prepared.
  void order(const NodeSet& nodes);
  /// For later: run at low priority, one at a time, when nothing is on order.
  void prepare(const std::vector<NodeSet>& sets);
  /// The answer to an order, if there is one. Never blocks. `now` in seconds.
  [[nodiscard]] std::optional<PlanAnswer> poll(double now);

  /// Where the plan of an answered set is.
  [[nodiscard]] std::string plan_path(const NodeSet& nodes) const;

 private:
  struct Running {
    NodeSet nodes;
    Child child;
    bool ordered = false;
  };
  [[nodiscard]] planner::ClusterSpec part(const NodeSet& nodes) const;
  [[nodiscard]] std::string key_folder(const NodeSet& nodes) const;
  [[nodiscard]] std::optional<PlanAnswer> kept(const NodeSet& nodes) const;
  void begin(const NodeSet& nodes, bool ordered, double now);
  void end_running();
  [[nodiscard]] Status keep(const NodeSet& nodes, int exit_code) const;

  PlannerSetup setup_;
  planner::ClusterSpec cluster_;
  std::optional<NodeSet> order_;
  std::deque<NodeSet> later_;
  std::optional<Running> running_;
  int failures_ = 0;  // of the present order
};

}  // namespace tessera::recovery
