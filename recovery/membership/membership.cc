#include "recovery/membership/membership.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

bool usable(NodeState state) { return state == NodeState::kHealthy || state == NodeState::kReturning; }

bool subset(const NodeSet& part, const NodeSet& whole) { return std::ranges::includes(whole, part); }

std::string seconds_text(Time span) {
  return fmt::format("{:.1f} s", static_cast<double>(span.count()) / 1e3);
}

/// One transition in the making.
class Transitions {
 public:
  Transitions(Membership state, Time now, const Policy& policy)
      : state_(std::move(state)), job_(state_.job), now_(now), policy_(policy) {}

  Transition take(const Event& event) {
    age_nodes();
    observe(event);
    for (int rounds = 0; settle(); ++rounds) TS_REQUIRE(rounds < 16, job_state_name(job_.state));
    return {std::move(state_), std::move(actions_)};
  }

 private:
  // ---- what happened -------------------------------------------------------------------------------------

  void observe(const Event& event) {
    switch (event.kind) {
      case EventKind::kBegin: return begin();
      case EventKind::kNodeSeen: return node_seen(event.node);
      case EventKind::kNodeSilent: return suspect(event.node, "it does not answer");
      case EventKind::kRankDied: return rank_lost(event.node, "a rank died there");
      case EventKind::kRankHung: return rank_lost(event.node, "a rank hangs there");
      case EventKind::kNotice: return notice(event.node, event.until);
      case EventKind::kTraining: return training(event);
      case EventKind::kSnapshot: return snapshot(event.step);
      case EventKind::kJobEnded: return job_ended(event.outcome);
      case EventKind::kPlanReady: return plan_ready(event.plan);
      case EventKind::kNoPlan: return no_plan(event.plan.offered);
      case EventKind::kStopRequest: return stop_request();
      case EventKind::kTimer: return;
    }
  }

  /// Orders and probes of a supervisor that is gone are answered by nobody.
  void begin() {
    job_.asked.clear();
    job_.weighed.clear();
    for (std::size_t n = 0; n < state_.nodes.size(); ++n) {
      if (state_.nodes[n].state == NodeState::kSuspected) probe(static_cast<int>(n));
    }
    if (job_.state == JobState::kSaving) act(ActionKind::kSave, "the supervisor begins again");
    if (job_.state == JobState::kStopping) act(ActionKind::kEnd, "the supervisor begins again");
    if (job_.state == JobState::kDone) act(ActionKind::kFinish, "trained to the end");
    if (job_.state == JobState::kFailed || job_.state == JobState::kStopped) {
      job_.asked_to_stop = false;
      job_.crashes.clear();
      job_.streak = 0;
      enter(JobState::kRestarting);
    }
  }

  void node_seen(int n) {
    Node& node = at(n);
    if (node.state == NodeState::kSuspected) enter(node, NodeState::kHealthy);
    const bool came = node.state == NodeState::kLost || (node.state == NodeState::kOnDemand && node.ordered);
    if (!came) return;
    node.ordered = false;
    enter(node, NodeState::kReturning);
    note(n, "heard of again");
  }

  void suspect(int n, const char* why) {
    Node& node = at(n);
    if (node.state == NodeState::kSpare) {  // of no use as a spare, and nobody waits for it
      enter(node, NodeState::kLost);
      return note(n, why);
    }
    if (!usable(node.state)) return;
    enter(node, NodeState::kSuspected);
    probe(n, why);
  }

  void rank_lost(int n, const char* why) {
    if (!processes_live(job_.state)) return;
    job_.broken = true;
    if (n >= 0) suspect(n, why);
  }

  void notice(int n, Time until) {
    Node& node = at(n);
    if (node.state == NodeState::kLost || node.state == NodeState::kOnDemand) return;
    if (node.state != NodeState::kDraining) {
      enter(node, NodeState::kDraining);
      node.until = until;
      return note(n, fmt::format("will be taken in {}", seconds_text(until - now_)));
    }
    node.until = std::min(node.until, until);
  }

  void training(const Event& event) {
    if (job_.state == JobState::kStarting) enter(JobState::kRunning);
    if (job_.state != JobState::kRunning) return;
    job_.step_s = event.step_s;
    job_.steps_left = event.steps_left;
  }

  void snapshot(std::int64_t step) {
    job_.saved_step = std::max(job_.saved_step, step);
    if (!processes_live(job_.state) || job_.saved_step <= job_.start_step) return;
    job_.crashes.clear();
    job_.streak = 0;
  }

  void job_ended(Outcome outcome) {
    if (!processes_live(job_.state)) return;
    const bool as_ordered = job_.state == JobState::kSaving && outcome == Outcome::kSaved;
    const bool excused = as_ordered || job_.excused;
    job_.plan.reset();
    job_.broken = job_.excused = false;
    if (outcome == Outcome::kCompleted) return finish(JobState::kDone, "trained to the end");
    if (job_.asked_to_stop) {
      return finish(JobState::kStopped, as_ordered ? "asked to stop; the state is saved" : "asked to stop");
    }
    if (outcome == Outcome::kWrongInput && job_.saved_step < 0) {
      return finish(JobState::kFailed, "the training program refuses its input");
    }
    job_.not_before = now_;
    if (!excused) {
      count_crash();
      if (static_cast<int>(job_.crashes.size()) > policy_.limit) {
        return finish(JobState::kFailed, fmt::format("ended {} times within {} without saving a step",
                                                     job_.crashes.size(), seconds_text(policy_.window)));
      }
      const double draw = uniform(policy_.jitter_key, static_cast<std::uint64_t>(job_.starts));
      job_.not_before = now_ + backoff(job_.streak, draw, policy_);
    }
    enter(JobState::kRestarting);
  }

  void count_crash() {
    std::erase_if(job_.crashes, [&](Time crash) { return crash + policy_.window <= now_; });
    job_.crashes.push_back(now_);
    ++job_.streak;
  }

  void plan_ready(const PlanChoice& plan) {
    if (job_.state == JobState::kRestarting && plan.offered == job_.asked) {
      job_.plan = plan;
      job_.asked.clear();
      return enter(JobState::kBackingOff);
    }
    if (job_.state != JobState::kRunning || plan.offered != job_.weighed) return;
    const double measured = job_.step_s > 0 ? job_.step_s : job_.plan->step_s;
    const double share = job_.plan->step_s > 0 ? 1 - plan.step_s / job_.plan->step_s : 0;
    const double saved = measured * share * static_cast<double>(job_.steps_left);
    const std::string sum =
        fmt::format("a plan with {} would save {:.1f} s of the {} steps left, a restart costs {:.1f} s",
                    names(plan.offered), saved, job_.steps_left, policy_.restart_cost_s);
    if (saved <= policy_.restart_cost_s) return note(-1, sum);
    save(sum);
  }

  void no_plan(const NodeSet& offered) {
    if (job_.state != JobState::kRestarting || offered != job_.asked) return;
    if (offered.size() == state_.nodes.size()) {
      return finish(JobState::kFailed, "no plan fits all nodes together");
    }
    if (take_spares(static_cast<int>(state_.nodes.size()))) return;  // and ask again
    order_nodes(static_cast<int>(state_.nodes.size()));
    enter(JobState::kStopped);
    note(-1, fmt::format("no plan fits {}; waiting for nodes", names(offered)));
  }

  void stop_request() {
    if (job_.state == JobState::kDone || job_.state == JobState::kFailed) return;
    job_.asked_to_stop = true;
    if (job_.state == JobState::kStopped) finish(JobState::kStopped, "asked to stop");
  }

  /// What time alone does to nodes.
  void age_nodes() {
    for (std::size_t n = 0; n < state_.nodes.size(); ++n) {
      Node& node = state_.nodes[n];
      const bool given_up = node.state == NodeState::kSuspected && now_ >= node.since + policy_.suspicion;
      const bool taken = node.state == NodeState::kDraining && now_ >= node.until;
      if (!given_up && !taken) continue;
      enter(node, NodeState::kLost);
      note(static_cast<int>(n), given_up ? "not heard of in time" : "taken away");
    }
  }

  // ---- what follows --------------------------------------------------------------------------------------

  /// One thing that the state asks for; false: nothing more.
  bool settle() {
    switch (job_.state) {
      case JobState::kStarting:
      case JobState::kRunning: return settle_live();
      case JobState::kSaving: return settle_saving();
      case JobState::kRestarting: return settle_restarting();
      case JobState::kBackingOff: return settle_backing_off();
      case JobState::kStopped: return settle_stopped();
      default: return false;
    }
  }

  bool settle_live() {
    if (end_if_hurt()) return true;
    if (job_.asked_to_stop) return wind_down("asked to stop");
    for (const int n : job_.plan->used) {
      if (at(n).state == NodeState::kDraining) return wind_down(at(n).name + " will be taken away");
    }
    if (job_.state == JobState::kStarting) {
      if (now_ < job_.since + policy_.start_limit) return false;
      return end(fmt::format("no rank trains {} after the start", seconds_text(policy_.start_limit)));
    }
    return weigh_returning();
  }

  bool settle_saving() {
    if (end_if_hurt()) return true;
    for (const int n : job_.plan->used) {
      if (at(n).state != NodeState::kDraining) continue;
      job_.save_by = std::min(job_.save_by, at(n).until - policy_.notice_margin);
    }
    if (now_ < job_.save_by) return false;
    job_.excused = true;
    return end("saving takes too long");
  }

  bool settle_restarting() {
    if (job_.asked_to_stop) return finish_now(JobState::kStopped, "asked to stop");
    const auto suspected = [](const Node& node) { return node.state == NodeState::kSuspected; };
    if (std::ranges::any_of(state_.nodes, suspected)) return false;
    take_spares(job_.wanted);
    order_nodes(job_.wanted);
    const NodeSet nodes = candidates();
    if (nodes.empty()) {
      job_.asked.clear();
      enter(JobState::kStopped);
      note(-1, "no node is left; waiting for nodes");
      return true;
    }
    if (nodes == job_.asked) return false;
    job_.asked = nodes;
    actions_.push_back({ActionKind::kAskPlan, -1, nodes, "for a start on " + names(nodes)});
    return false;
  }

  bool settle_backing_off() {
    if (job_.asked_to_stop) return finish_now(JobState::kStopped, "asked to stop");
    if (candidates() != job_.plan->offered) {
      job_.plan.reset();
      enter(JobState::kRestarting);
      return true;
    }
    if (now_ < job_.not_before) return false;
    start();
    return true;
  }

  /// Waits for nodes; `asked` is the last set that no plan fitted.
  bool settle_stopped() {
    if (job_.asked_to_stop) return false;
    const NodeSet nodes = candidates();
    if (nodes.empty() || subset(nodes, job_.asked)) return false;
    enter(JobState::kRestarting);
    return true;
  }

  bool end_if_hurt() {
    for (const int n : job_.plan->used) {
      const NodeState state = at(n).state;
      if (usable(state) || state == NodeState::kDraining) continue;
      return end(fmt::format("{} is {}", at(n).name, node_state_name(state)));
    }
    return job_.broken && end("a rank died or hangs");
  }

  void start() {
    for (const int n : job_.plan->offered) {
      if (at(n).state == NodeState::kReturning) enter(at(n), NodeState::kHealthy);
    }
    ++job_.starts;
    job_.start_step = job_.saved_step;
    job_.step_s = 0;
    job_.weighed.clear();
    job_.broken = job_.excused = false;
    enter(JobState::kStarting);
    actions_.push_back({ActionKind::kStart, -1, job_.plan->used,
                        fmt::format("start {} on {}", job_.starts, names(job_.plan->used))});
  }

  bool weigh_returning() {
    const NodeSet nodes = candidates();
    const auto returning = [&](int n) { return at(n).state == NodeState::kReturning; };
    if (nodes == job_.weighed || std::ranges::none_of(nodes, returning)) return false;
    job_.weighed = nodes;
    actions_.push_back({ActionKind::kAskPlan, -1, nodes, "whether a restart with returning nodes pays"});
    return false;
  }

  /// Ends the processes with their state saved, as far as there is any and time for it.
  bool wind_down(const std::string& why) {
    if (job_.state == JobState::kRunning) return save(why);
    job_.excused = true;
    return end(why + "; nothing to save yet");
  }

  bool save(const std::string& why) {
    job_.save_by = now_ + policy_.save_limit;
    enter(JobState::kSaving);
    act(ActionKind::kSave, why);
    return true;
  }

  bool end(const std::string& why) {
    enter(JobState::kStopping);
    act(ActionKind::kEnd, why);
    return true;
  }

  bool finish_now(JobState state, const std::string& why) {
    finish(state, why);
    return true;
  }

  void finish(JobState state, const std::string& why) {
    job_.plan.reset();
    job_.asked.clear();
    enter(state);
    act(ActionKind::kFinish, why);
  }

  /// Spares become members until there are `wanted`; whether any did.
  bool take_spares(int wanted) {
    bool taken = false;
    int there = static_cast<int>(candidates().size());
    for (std::size_t n = 0; n < state_.nodes.size() && there < wanted; ++n) {
      if (state_.nodes[n].state != NodeState::kSpare) continue;
      enter(state_.nodes[n], NodeState::kHealthy);
      note(static_cast<int>(n), "taken from the spares");
      taken = true;
      ++there;
    }
    return taken;
  }

  void order_nodes(int wanted) {
    if (!policy_.order_nodes) return;
    int there = static_cast<int>(candidates().size());
    for (const Node& node : state_.nodes) there += node.ordered ? 1 : 0;
    for (std::size_t n = 0; n < state_.nodes.size() && there < wanted; ++n) {
      Node& node = state_.nodes[n];
      if (node.state != NodeState::kOnDemand || node.ordered) continue;
      node.ordered = true;
      ++there;
      actions_.push_back({ActionKind::kOrderNode, static_cast<int>(n), {}, "too few nodes are left"});
    }
  }

  [[nodiscard]] NodeSet candidates() const {
    NodeSet nodes;
    for (std::size_t n = 0; n < state_.nodes.size(); ++n) {
      if (usable(state_.nodes[n].state)) nodes.push_back(static_cast<int>(n));
    }
    return nodes;
  }

  [[nodiscard]] std::string names(const NodeSet& nodes) const {
    std::string text;
    for (const int n : nodes)
      text += (text.empty() ? "" : ", ") + state_.nodes[static_cast<std::size_t>(n)].name;
    return text.empty() ? "no node" : text;
  }

  Node& at(int n) {
    TS_REQUIRE(n >= 0 && n < static_cast<int>(state_.nodes.size()), n);
    return state_.nodes[static_cast<std::size_t>(n)];
  }
  void enter(Node& node, NodeState state) {
    node.state = state;
    node.since = now_;
  }
  void enter(JobState state) {
    job_.state = state;
    job_.since = now_;
  }
  void act(ActionKind kind, const std::string& why) { actions_.push_back({kind, -1, {}, why}); }
  void note(int n, const std::string& why) { actions_.push_back({ActionKind::kNote, n, {}, why}); }
  void probe(int n, const char* why = "the supervisor begins again") {
    actions_.push_back({ActionKind::kProbe, n, {}, why});
  }

  Membership state_;
  Job& job_;
  Time now_;
  const Policy& policy_;
  std::vector<Action> actions_;
};

}  // namespace

const char* node_state_name(NodeState state) {
  constexpr std::array<const char*, kNodeStates> kNames = {"healthy",   "suspected", "draining", "lost",
                                                           "returning", "spare",     "on demand"};
  return kNames[static_cast<std::size_t>(state)];
}

const char* job_state_name(JobState state) {
  constexpr std::array<const char*, kJobStates> kNames = {
      "restarting", "backing off", "starting", "running", "saving", "stopping", "stopped", "done", "failed"};
  return kNames[static_cast<std::size_t>(state)];
}

const char* event_name(EventKind kind) {
  constexpr std::array<const char*, 13> kNames = {
      "begin",    "node seen", "node silent", "rank died", "rank hung",    "notice", "training",
      "snapshot", "job ended", "plan ready",  "no plan",   "stop request", "timer"};
  return kNames[static_cast<std::size_t>(kind)];
}

const char* action_name(ActionKind kind) {
  constexpr std::array<const char*, 8> kNames = {"ask planner", "start",      "save", "end",
                                                 "probe",       "order node", "note", "finish"};
  return kNames[static_cast<std::size_t>(kind)];
}

Membership new_membership(const std::vector<std::string>& nodes, const NodeSet& spares,
                          const NodeSet& on_demand, Time now) {
  Membership state;
  for (const std::string& name : nodes) {
    Node node;
    node.name = name;
    node.since = now;
    state.nodes.push_back(std::move(node));
  }
  for (const int n : spares) state.nodes[static_cast<std::size_t>(n)].state = NodeState::kSpare;
  for (const int n : on_demand) state.nodes[static_cast<std::size_t>(n)].state = NodeState::kOnDemand;
  for (const Node& node : state.nodes) state.job.wanted += node.state == NodeState::kHealthy ? 1 : 0;
  state.job.since = now;
  return state;
}

Transition advance(Membership state, const Event& event, Time now, const Policy& policy) {
  return Transitions(std::move(state), now, policy).take(event);
}

std::optional<Time> next_timer(const Membership& state, const Policy& policy) {
  std::optional<Time> first;
  const auto consider = [&](Time time) { first = first ? std::min(*first, time) : time; };
  for (const Node& node : state.nodes) {
    if (node.state == NodeState::kSuspected) consider(node.since + policy.suspicion);
    if (node.state == NodeState::kDraining) consider(node.until);
  }
  if (state.job.state == JobState::kStarting) consider(state.job.since + policy.start_limit);
  if (state.job.state == JobState::kSaving) consider(state.job.save_by);
  if (state.job.state == JobState::kBackingOff) consider(state.job.not_before);
  return first;
}

bool processes_live(JobState state) {
  return state == JobState::kStarting || state == JobState::kRunning || state == JobState::kSaving ||
         state == JobState::kStopping;
}

Time backoff(int crashes, double draw, const Policy& policy) {
  if (crashes <= 1) return Time{0};
  const double grown = static_cast<double>(policy.first_delay.count()) * std::exp2(std::min(crashes - 2, 40));
  const double delay = std::min(grown, static_cast<double>(policy.greatest_delay.count()));
  return Time{static_cast<std::int64_t>(delay * (1 - policy.jitter * draw))};
}

}  // namespace tessera::recovery
