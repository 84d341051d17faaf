/// Membership: which nodes a job may use, and what happens to the job, as a pure function
///
///   (state, event, time) -> (state, actions)
///
/// in the manner of 3FS's updateChain. The supervisor carries out the actions and decides nothing. The state
/// says everything: saved and read back, it goes on where it was.
///
/// Job
///   restarting   nothing runs; a plan for the nodes at hand is on order
///   backing off  nothing runs; a start is due at `not_before`
///   starting     processes have been started; no rank trains yet
///   running      ranks train
///   saving       processes have been asked to save and end
///   stopping     processes have been ended by force, and may not all be gone
///   stopped      nothing runs: too few nodes, or it was asked to stop
///   done, failed for good
///
/// Nodes
///   healthy      may be used        suspected   a rank died or it was silent; not used until it is heard of
///   draining     will be taken away at `until`; not used          lost        not heard of
///   returning    heard of again after a loss: joins at the next start, or sooner where that pays
///   spare        kept for one that is lost                        on demand   would have to be ordered
///
/// Rules (tests/recovery/membership states each as a test)
///   - Processes are started only when those of the job before are known to be gone.
///   - A job runs on healthy nodes only: a suspected or lost member ends it, a draining one makes it save
///   first.
///   - A restart waits for what becomes of suspected nodes, no longer than `suspicion`.
///   - A lost member is replaced by a spare, then, where allowed, by a node ordered on demand.
///   - When no plan fits, every spare is taken; then the job waits for nodes. When no plan fits all nodes
///   there
///     are, it has failed.
///   - Ends that nobody asked for without a step saved since the start back off exponentially; more than
///   `limit`
///     of them within `window` fail the job. A saved step wipes the slate.
///   - A returning node joins a running job only when that saves more time than a restart costs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera::recovery {

/// Since the epoch of the system's clock: it outlives the supervisor.
using Time = std::chrono::milliseconds;

enum class NodeState : std::uint8_t { kHealthy, kSuspected, kDraining, kLost, kReturning, kSpare, kOnDemand };
inline constexpr int kNodeStates = 7;
[[nodiscard]] const char* node_state_name(NodeState state);  // "healthy", ..., "on demand"

enum class JobState : std::uint8_t {
  kRestarting,
  kBackingOff,
  kStarting,
  kRunning,
  kSaving,
  kStopping,
  kStopped,
  kDone,
  kFailed
};
inline constexpr int kJobStates = 9;
[[nodiscard]] const char* job_state_name(JobState state);

struct Node {
  std::string name;
  NodeState state = NodeState::kHealthy;
  Time since{};          // in this state
  Time until{};          // draining: when it is taken away
  bool ordered = false;  // on demand: asked for, not there yet
  bool operator==(const Node&) const = default;
};

using NodeSet = std::vector<int>;  // indices of nodes, rising

/// What the planner made of a set of nodes. Where the plan itself is, the supervisor knows from `offered`.
struct PlanChoice {
  NodeSet offered;  // nodes the planner could use
  NodeSet used;     // nodes with ranks
  double step_s = 0;
  bool operator==(const PlanChoice&) const = default;
};

struct Job {
  JobState state = JobState::kRestarting;
  Time since{};
  std::optional<PlanChoice> plan;  // of the processes, or of the start that is due
  NodeSet asked;                   // restarting: what the planner has been given
  bool broken = false;             // a rank died or hung: the processes are to be ended
  bool excused = false;            // the end was ordered, and is no crash
  bool asked_to_stop = false;      // by the user
  Time save_by{};                  // saving: until then
  Time not_before{};               // backing off
  NodeSet weighed;                 // running: a larger set that the planner was asked about
  std::int64_t starts = 0;         // processes started so far
  std::int64_t saved_step = -1;    // the newest safe step
  std::int64_t start_step = -1;    // `saved_step` when the processes were started
  std::int64_t steps_left = 0;
  double step_s = 0;          // measured; 0: not yet
  std::vector<Time> crashes;  // within the window, since a step was saved
  int streak = 0;             // crashes since a step was saved
  int wanted = 0;             // nodes that the job began with; spares fill up to it
  bool operator==(const Job&) const = default;
};

struct Membership {
  std::vector<Node> nodes;
  Job job;
  bool operator==(const Membership&) const = default;
};

struct Policy {
  Time suspicion{10'000};     // a silent node is lost after
  Time start_limit{600'000};  // from the start to the first rank that trains
  Time save_limit{120'000};   // to save and end, when nothing else presses
  Time notice_margin{2'000};  // the processes must be gone so long before a node is taken
  Time first_delay{1'000};    // of the second crash in a row; the first is restarted at once
  Time greatest_delay{60'000};
  double jitter = 0.25;  // share of the delay that is drawn
  std::uint64_t jitter_key = 1;
  int limit = 8;  // crashes
  Time window{600'000};
  bool order_nodes = true;     // on-demand nodes may be asked for
  double restart_cost_s = 60;  // what a voluntary restart costs
};

enum class EventKind : std::uint8_t {
  kBegin,        // the supervisor is there, for the first time or again
  kNodeSeen,     // node
  kNodeSilent,   // node: not heard of as often as it should have been
  kRankDied,     // node, or -1 where nobody knows
  kRankHung,     // node
  kNotice,       // node, until: it will be taken away
  kTraining,     // a rank trains: step_s, steps_left
  kSnapshot,     // step: the state after it is safe
  kJobEnded,     // outcome: every process is gone
  kPlanReady,    // plan: the answer to an order
  kNoPlan,       // plan.offered: nothing fits these
  kStopRequest,  // the user, or whoever takes the supervisor's own machine
  kTimer,
};
[[nodiscard]] const char* event_name(EventKind kind);

enum class Outcome : std::uint8_t {
  kCompleted,  // trained to the end
  kSaved,      // ended as asked, with its state saved
  kCrashed,
  kWrongInput,  // says that the user must put something right
};

struct Event {
  EventKind kind = EventKind::kTimer;
  int node = -1;
  Time until{};
  std::int64_t step = 0;
  std::int64_t steps_left = 0;
  double step_s = 0;
  Outcome outcome = Outcome::kCrashed;
  PlanChoice plan;
};

enum class ActionKind : std::uint8_t {
  kAskPlan,    // nodes
  kStart,      // plan: processes of it
  kSave,       // ask the processes to save and end
  kEnd,        // end them by force; kJobEnded follows
  kProbe,      // node: find out whether it lives; kNodeSeen or kNodeSilent follows
  kOrderNode,  // node, from the on-demand pool
  kNote,       // nothing to do; a decision that the journal shall have
  kFinish,     // the job needs no supervisor any more; state says how it ended
};
[[nodiscard]] const char* action_name(ActionKind kind);

struct Action {
  ActionKind kind = ActionKind::kFinish;
  int node = -1;
  NodeSet nodes;
  std::string why;  // for the journal: a clause, "a takes part no more: lost"
  bool operator==(const Action&) const = default;
};

struct Transition {
  Membership state;
  std::vector<Action> actions;
};

/// The state of a job that nobody has started. `spares`, `on_demand`: nodes that are kept back.
[[nodiscard]] Membership new_membership(const std::vector<std::string>& nodes, const NodeSet& spares,
                                        const NodeSet& on_demand, Time now);

/// Total: every event is legal in every state. Time never goes back.
[[nodiscard]] Transition advance(Membership state, const Event& event, Time now, const Policy& policy);

/// When time alone changes something; nullopt: never.
[[nodiscard]] std::optional<Time> next_timer(const Membership& state, const Policy& policy);

/// Processes of the job may live.
[[nodiscard]] bool processes_live(JobState state);
/// Wait after the n-th crash in a row, n >= 1. `draw` in [0, 1).
[[nodiscard]] Time backoff(int crashes, double draw, const Policy& policy);

}  // namespace tessera::recovery
