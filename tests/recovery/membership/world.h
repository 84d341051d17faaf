// A world around the membership function: machines that live or not, a planner that knows which sets of nodes
// suffice, processes that start and end. It answers what the actions ask for, and holds every transition to
// the invariants.
#pragma once

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "recovery/membership/membership.h"

namespace tessera::recovery {

inline bool contains(const NodeSet& set, int n) { return std::ranges::find(set, n) != set.end(); }

inline bool may_be_used(NodeState state) {
  return state == NodeState::kHealthy || state == NodeState::kReturning;
}

class World {
 public:
  using Feasible = std::function<bool(const NodeSet&)>;
  World(Membership state, Policy policy, Feasible feasible)
      : state(std::move(state)),
        policy(policy),
        feasible_(std::move(feasible)),
        alive(this->state.nodes.size(), true) {
    processes_ = processes_live(this->state.job.state);
  }

  /// One event; checks the step.
  void give(const Event& event) {
    const Membership before = state;
    Transition next = advance(state, event, now, policy);
    state = std::move(next.state);
    if (event.kind == EventKind::kJobEnded) processes_ = false;
    for (const Action& action : next.actions) {
      EXPECT_FALSE(action.why.empty());
      switch (action.kind) {
        case ActionKind::kStart:
          EXPECT_FALSE(processes_) << "two jobs at once";
          EXPECT_GE(now, before.job.not_before) << "started before the back-off was over";
          processes_ = true;
          ++starts;
          break;
        case ActionKind::kFinish: finished = true; break;
        default: break;
      }
      actions.push_back(action);
      log.push_back(std::string(event_name(event.kind)) + " -> " + action_name(action.kind) + ": " +
                    action.why);
    }
    check();
  }

  /// What holds after every step.
  void check() const {
    const Job& job = state.job;
    EXPECT_EQ(processes_live(job.state), processes_) << job_state_name(job.state);
    if (job.state == JobState::kStarting || job.state == JobState::kRunning) {
      ASSERT_TRUE(job.plan.has_value());
      for (const int n : job.plan->used) {
        EXPECT_TRUE(may_be_used(state.nodes[static_cast<std::size_t>(n)].state))
            << "runs on a node that is " << node_state_name(state.nodes[static_cast<std::size_t>(n)].state);
      }
    }
    for (const Node& node : state.nodes) {
      if (node.state == NodeState::kSuspected) {
        EXPECT_LT(now, node.since + policy.suspicion);
      }
      if (node.state == NodeState::kDraining) {
        EXPECT_LT(now, node.until);
      }
    }
  }

  /// Answers the oldest action that wants an answer; false when there is none.
  bool answer() {
    if (actions.empty()) return false;
    const Action action = actions.front();
    actions.erase(actions.begin());
    Event event;
    switch (action.kind) {
      case ActionKind::kAskPlan:
        event.plan = {action.nodes, action.nodes, 1.0 / static_cast<double>(action.nodes.size())};
        event.kind = feasible_(action.nodes) ? EventKind::kPlanReady : EventKind::kNoPlan;
        break;
      case ActionKind::kStart:
        event.kind = EventKind::kTraining;
        event.step_s = 1;
        event.steps_left = 1000;
        break;
      case ActionKind::kSave:
      case ActionKind::kEnd:
        if (!processes_) return true;  // they ended meanwhile
        event.kind = EventKind::kJobEnded;
        event.outcome = action.kind == ActionKind::kSave ? Outcome::kSaved : Outcome::kCrashed;
        break;
      case ActionKind::kProbe:
      case ActionKind::kOrderNode:
        event.kind = lives(action.node) ? EventKind::kNodeSeen : EventKind::kNodeSilent;
        event.node = action.node;
        break;
      default: return true;
    }
    give(event);
    return true;
  }

  /// Answers, and lets time pass where nothing else happens, until nothing changes any more. Living machines
  /// are heard of, as a supervisor would that probes what it has lost.
  void settle() {
    for (int i = 0; i < 200; ++i) {
      while (answer()) {
      }
      if (const auto timer = next_timer(state, policy)) {
        now = std::max(now, *timer);
        give({});
        continue;
      }
      bool heard = false;
      for (std::size_t n = 0; n < alive.size(); ++n) {
        if (state.nodes[n].state != NodeState::kLost || !alive[n]) continue;
        Event event;
        event.kind = EventKind::kNodeSeen;
        event.node = static_cast<int>(n);
        give(event);
        heard = true;
      }
      if (!heard) return;
    }
    ADD_FAILURE() << "the job does not settle";
  }

  [[nodiscard]] bool lives(int n) const { return alive[static_cast<std::size_t>(n)]; }
  /// Some set of the living nodes that a job could be given suffices.
  [[nodiscard]] bool could_run() const {
    NodeSet nodes;
    for (std::size_t n = 0; n < alive.size(); ++n) {
      if (alive[n] && (policy.order_nodes || state.nodes[n].state != NodeState::kOnDemand)) {
        nodes.push_back(static_cast<int>(n));
      }
    }
    return !nodes.empty() && feasible_(nodes);
  }
  [[nodiscard]] bool processes() const { return processes_; }
  [[nodiscard]] std::string story() const {
    std::string text;
    for (const std::string& line : log) text += line + "\n";
    return text;
  }

  Membership state;
  Policy policy;
  Time now{1'000'000};
  std::vector<Action> actions;
  std::vector<std::string> log;
  int starts = 0;
  bool finished = false;

 private:
  Feasible feasible_;
  bool processes_ = false;

 public:
  std::vector<bool> alive;
};

}  // namespace tessera::recovery
