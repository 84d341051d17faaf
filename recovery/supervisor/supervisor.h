/// Supervisor: keeps one training job alive. Looks at the world, turns what it sees into events, lets
/// recovery/membership decide, writes state and journal, and only then acts.
///
///   heartbeats, exit codes, probes, notices, plans --> Event --> advance() --> state, journal --> actions
///
///   <state>/supervisor.json   what survives this process     journal.jsonl, journal.txt   decisions
///   <state>/start-0003/       one start: its plan, log, heartbeats
///   <state>/plans/            answers of the planner         notices/                     nodes to be taken
///
/// A supervisor that begins on the state of a dead one finds the processes of its last start by their token
/// and goes on with them, or ends what is left of them first.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "planner/spec/cluster_spec.h"
#include "recovery/membership/membership.h"
#include "recovery/supervisor/hang_watch.h"
#include "recovery/supervisor/job_process.h"
#include "recovery/supervisor/journal.h"
#include "recovery/supervisor/launch_command.h"
#include "recovery/supervisor/notice_source.h"
#include "recovery/supervisor/plan_orders.h"
#include "recovery/supervisor/probe.h"
#include "recovery/supervisor/state_file.h"

namespace tessera::recovery {

struct SupervisorSetup {
  std::string state;  // directory
  planner::ClusterSpec cluster;
  NodeSet spares;
  NodeSet on_demand;
  NodeSet absent;  // of the cluster, but not of this allocation
  PlannerSetup planner;
  std::vector<std::string> train;  // program and arguments, without --plan
  std::string mpirun = "mpirun";
  LaunchMode mode = LaunchMode::kLocal;
  Policy policy;
  HangPolicy hang;
  std::vector<std::string> probe;  // command; empty: none
  std::vector<std::string> order;  // command that orders a node; empty: none
  double probe_interval_s = 10;
  double probe_timeout_s = 10;
  MetadataService metadata;
  std::string own_node;  // whose metadata that is; empty: of every node, as all are this machine
  double notice_interval_s = 2;
  double poll_s = 0.1;
  std::function<void(const JournalEntry&)> tell;  // every entry, as it is written
};

struct SupervisorEnd {
  JobState state = JobState::kFailed;
  std::string why;
  std::string log;       // of the last start; empty: there was none
  bool refused = false;  // by the planner or the training program: the input is wrong
};

class Supervisor {
 public:
  /// Takes the lock, reads the state or begins one.
  /// Errors    kFailedPrecondition: another supervisor lives. kDataLoss: the state is damaged.
  static Result<std::unique_ptr<Supervisor>> open(SupervisorSetup setup);

  /// Until the job needs no supervisor any more; `stop` may be set by a signal handler.
  /// Errors    state or journal cannot be written.
  [[nodiscard]] Result<SupervisorEnd> run(const std::atomic<bool>& stop);

 private:
  Supervisor(SupervisorSetup setup, StateLock lock, SupervisorState state);

  Status adopt();
  Status look();
  Status give(const Event& event, const std::string& detail = "");
  Status carry_out(const Action& action);
  Status start_job();
  Status watch_job();
  Status watch_heartbeats();
  Status job_has_ended(std::optional<int> exit_code);
  Status blame(std::optional<int> exit_code);
  Status watch_planner();
  Status watch_nodes();
  Status watch_notices();
  Status notice(int node, NodeNotice notice);
  void end_job();
  void prepare_plans();

  [[nodiscard]] const Job& job() const { return state_.membership.job; }
  [[nodiscard]] JobProcess process_of(std::int64_t start) const;
  [[nodiscard]] int node_number(const std::string& name) const;  // -1: none
  [[nodiscard]] double now() const { return seconds(clock_.now()); }
  /// Whether the thing called `what` is due, `interval` seconds after it was last.
  [[nodiscard]] bool due(const char* what, double interval);

  SupervisorSetup setup_;
  StateLock lock_;
  SupervisorState state_;
  SystemClock clock_;
  PlanOrders plans_;
  Probe probe_;
  std::map<std::string, int> misses_;  // probes in a row without an answer
  std::map<std::string, double> due_;
  std::future<Result<std::optional<Time>>> metadata_;
  std::optional<JobProcess> process_;
  std::optional<HangWatch> hang_;
  std::int64_t seen_step_ = -1;
  double end_asked_ = 0;   // when kEnd was carried out
  double ranks_gone_ = 0;  // since when only launchers have been left; 0: ranks live
  std::optional<SupervisorEnd> end_;
  std::string refusal_;  // what a program has just said of its input
};

}  // namespace tessera::recovery
