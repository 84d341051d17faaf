// The rules of membership.h as sentences, then every state of up to three nodes, then random walks.
#include "recovery/membership/membership.h"

#include <random>

#include <gtest/gtest.h>

#include "tests/recovery/membership/world.h"

namespace tessera::recovery {
namespace {

using namespace std::chrono_literals;

World::Feasible at_least(std::size_t nodes) {
  return [nodes](const NodeSet& set) { return set.size() >= nodes; };
}

Event of(EventKind kind, int node = -1) {
  Event event;
  event.kind = kind;
  event.node = node;
  return event;
}

Event ended(Outcome outcome) {
  Event event = of(EventKind::kJobEnded);
  event.outcome = outcome;
  return event;
}

Event snapshot(std::int64_t step) {
  Event event = of(EventKind::kSnapshot);
  event.step = step;
  return event;
}

Event notice(int node, Time until) {
  Event event = of(EventKind::kNotice, node);
  event.until = until;
  return event;
}

/// Three members, a spare, a node on demand; the job trains.
World running(Policy policy = {}, std::size_t needed = 2) {
  World world(new_membership({"a", "b", "c", "spare", "cloud"}, {3}, {4}, Time{1'000'000}), policy,
              at_least(needed));
  world.give(of(EventKind::kBegin));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning) << world.story();
  return world;
}

NodeState state_of(const World& world, int n) { return world.state.nodes[static_cast<std::size_t>(n)].state; }

TEST(Membership, AJobBeginsOnItsMembersAndKeepsSparesBack) {
  const World world = running();
  EXPECT_EQ(world.state.job.plan->used, (NodeSet{0, 1, 2}));
  EXPECT_EQ(state_of(world, 3), NodeState::kSpare);
  EXPECT_EQ(state_of(world, 4), NodeState::kOnDemand);
}

TEST(Membership, ADeadRankOnALivingNodeRestartsTheJobOnTheSameNodes) {
  World world = running();
  world.give(of(EventKind::kRankDied, 1));
  EXPECT_EQ(world.state.job.state, JobState::kStopping);
  EXPECT_EQ(state_of(world, 1), NodeState::kSuspected);
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
  EXPECT_EQ(world.state.job.plan->used, (NodeSet{0, 1, 2}));
  EXPECT_EQ(world.starts, 2);
}

TEST(Membership, ARestartWaitsForWhatBecomesOfASuspectedNode) {
  World world = running();
  world.actions.clear();
  world.give(of(EventKind::kRankDied, 1));
  world.give(ended(Outcome::kCrashed));
  EXPECT_EQ(world.state.job.state, JobState::kRestarting);
  EXPECT_TRUE(world.state.job.asked.empty());
  world.now += world.policy.suspicion;
  world.give({});
  EXPECT_EQ(state_of(world, 1), NodeState::kLost);
  EXPECT_EQ(world.state.job.asked, (NodeSet{0, 2, 3}));
}

TEST(Membership, ALostMemberIsReplacedByASpareThenByANodeOnDemand) {
  World world = running();
  world.alive[1] = world.alive[2] = false;
  world.give(of(EventKind::kNodeSilent, 1));
  world.give(of(EventKind::kNodeSilent, 2));
  world.settle();
  EXPECT_EQ(state_of(world, 3), NodeState::kHealthy);
  EXPECT_TRUE(may_be_used(state_of(world, 4)));
  EXPECT_EQ(world.state.job.state, JobState::kRunning) << world.story();
}

TEST(Membership, NodesAreOrderedOnlyWhereThatIsAllowed) {
  Policy policy;
  policy.order_nodes = false;
  World world = running(policy);
  world.alive[1] = world.alive[2] = false;
  world.give(of(EventKind::kNodeSilent, 1));
  world.give(of(EventKind::kNodeSilent, 2));
  world.settle();
  EXPECT_EQ(state_of(world, 4), NodeState::kOnDemand);
  EXPECT_EQ(world.state.job.plan->used, (NodeSet{0, 3}));
}

TEST(Membership, ANoticeMakesTheJobSaveAndGoOnWithoutTheNode) {
  World world = running();
  world.give(notice(2, world.now + 30s));
  EXPECT_EQ(world.state.job.state, JobState::kSaving);
  EXPECT_EQ(world.state.job.save_by, world.now + 30s - world.policy.notice_margin);
  while (world.answer()) {
  }
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
  EXPECT_EQ(world.state.job.plan->used, (NodeSet{0, 1, 3}));
  EXPECT_TRUE(world.state.job.crashes.empty()) << "an ordered end is no crash";
}

TEST(Membership, ASaveThatDoesNotFinishInsideTheNoticeIsCutOff) {
  World world = running();
  world.give(notice(2, world.now + 30s));
  world.actions.clear();
  world.now += 29s;
  world.give({});
  EXPECT_EQ(world.state.job.state, JobState::kStopping);
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
}

TEST(Membership, AJobThatDoesNotTrainYetHasNothingToSave) {
  World world(new_membership({"a", "b"}, {}, {}, Time{0}), {}, at_least(1));
  world.give(of(EventKind::kBegin));
  world.answer();
  ASSERT_EQ(world.state.job.state, JobState::kStarting);
  world.give(notice(1, world.now + 30s));
  EXPECT_EQ(world.state.job.state, JobState::kStopping);
}

TEST(Membership, AJobOfWhichNoRankTrainsInTimeIsEnded) {
  World world(new_membership({"a"}, {}, {}, Time{0}), {}, at_least(1));
  world.give(of(EventKind::kBegin));
  world.answer();
  world.actions.clear();
  world.now += world.policy.start_limit;
  world.give({});
  EXPECT_EQ(world.state.job.state, JobState::kStopping);
}

TEST(Membership, AReturningNodeJoinsARunningJobOnlyWhenThatPays) {
  for (const std::int64_t steps_left : {10, 100'000}) {
    World world = running();
    world.alive[1] = world.alive[3] = world.alive[4] = false;
    world.give(of(EventKind::kNodeSilent, 3));
    world.give(of(EventKind::kNodeSilent, 1));
    world.settle();
    ASSERT_EQ(world.state.job.plan->used, (NodeSet{0, 2})) << world.story();
    Event training = of(EventKind::kTraining);
    training.step_s = 1;
    training.steps_left = steps_left;
    world.give(training);
    const int starts = world.starts;
    world.give(of(EventKind::kNodeSeen, 1));
    EXPECT_EQ(state_of(world, 1), NodeState::kReturning);
    while (world.answer()) {
    }
    EXPECT_EQ(world.state.job.state, JobState::kRunning);
    // Three nodes instead of two: a third of each step's second is saved.
    EXPECT_EQ(world.starts - starts, steps_left > 180 ? 1 : 0) << world.story();
  }
}

TEST(Membership, AReturningNodeJoinsAtTheNextStartInAnyCase) {
  World world = running({}, 1);
  world.alive[1] = world.alive[3] = world.alive[4] = false;
  world.give(of(EventKind::kNodeSilent, 3));
  world.give(of(EventKind::kNodeSilent, 1));
  world.settle();
  world.give(of(EventKind::kNodeSeen, 1));
  world.give(of(EventKind::kRankDied, 0));
  world.settle();
  EXPECT_EQ(world.state.job.plan->used, (NodeSet{0, 1, 2}));
}

TEST(Membership, TheSecondCrashInARowBacksOffAndLaterOnesLonger) {
  World world = running();
  Time last{0};
  for (int crash = 1; crash <= 6; ++crash) {
    const Time at = world.now;
    world.give(ended(Outcome::kCrashed));
    world.settle();
    ASSERT_EQ(world.state.job.state, JobState::kRunning);
    const Time waited = world.now - at;
    if (crash == 1) {
      EXPECT_EQ(waited, 0ms);
    }
    if (crash > 1) {
      EXPECT_GT(waited, last);
    }
    last = waited;
  }
}

TEST(Membership, ASavedStepWipesTheSlate) {
  World world = running();
  for (int i = 0; i < 5; ++i) {
    world.give(ended(Outcome::kCrashed));
    world.settle();
  }
  world.give(snapshot(10));
  EXPECT_TRUE(world.state.job.crashes.empty());
  const Time at = world.now;
  world.give(ended(Outcome::kCrashed));
  world.settle();
  EXPECT_EQ(world.now, at);
}

TEST(Membership, AStepSavedBeforeTheStartIsNoProgress) {
  World world = running();
  world.give(snapshot(10));
  world.give(ended(Outcome::kCrashed));
  world.settle();
  world.give(snapshot(10));
  EXPECT_EQ(world.state.job.streak, 1);
}

TEST(Membership, TooManyCrashesWithoutASavedStepFailTheJob) {
  World world = running();
  int crashes = 0;
  while (!world.finished && crashes < 100) {
    world.give(ended(Outcome::kCrashed));
    ++crashes;
    world.settle();
  }
  EXPECT_EQ(world.state.job.state, JobState::kFailed);
  EXPECT_EQ(crashes, world.policy.limit + 1);
  EXPECT_NE(world.log.back().find("without saving a step"), std::string::npos);
}

TEST(Membership, CrashesFartherApartThanTheWindowDoNotFailTheJob) {
  World world = running();
  for (int i = 0; i < 50; ++i) {
    world.now += world.policy.window;
    world.give(ended(Outcome::kCrashed));
    world.settle();
    ASSERT_EQ(world.state.job.state, JobState::kRunning);
  }
}

TEST(Membership, BackoffGrowsToItsGreatestAndJitterOnlyShortensIt) {
  const Policy policy;
  EXPECT_EQ(backoff(1, 0.5, policy), 0ms);
  EXPECT_EQ(backoff(2, 0, policy), policy.first_delay);
  EXPECT_EQ(backoff(5, 0, policy), 8 * policy.first_delay);
  EXPECT_EQ(backoff(1000, 0, policy), policy.greatest_delay);
  EXPECT_EQ(backoff(1000, 1, policy), Time{45'000});
}

TEST(Membership, InputThatTheProgramRefusesFailsTheJobAtOnce) {
  World world = running();
  world.give(ended(Outcome::kWrongInput));
  EXPECT_EQ(world.state.job.state, JobState::kFailed);
}

TEST(Membership, AfterASavedStepARefusalIsACrashLikeAnother) {
  World world = running();
  world.give(snapshot(3));
  world.give(ended(Outcome::kWrongInput));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
}

TEST(Membership, WhenNoPlanFitsAllNodesTheJobHasFailed) {
  World world(new_membership({"a", "b"}, {1}, {}, Time{0}), {}, at_least(3));
  world.give(of(EventKind::kBegin));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kFailed);
  EXPECT_EQ(state_of(world, 1), NodeState::kHealthy) << "the spare was tried too";
}

TEST(Membership, WithTooFewNodesTheJobWaitsAndGoesOnWhenOneReturns) {
  World world(new_membership({"a", "b"}, {}, {}, Time{0}), {}, at_least(2));
  world.give(of(EventKind::kBegin));
  world.settle();
  world.alive[1] = false;
  world.give(of(EventKind::kNodeSilent, 1));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kStopped);
  EXPECT_FALSE(world.finished);
  world.alive[1] = true;
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
}

TEST(Membership, AStopRequestSavesAndFinishes) {
  World world = running();
  world.give(of(EventKind::kStopRequest));
  EXPECT_EQ(world.state.job.state, JobState::kSaving);
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kStopped);
  EXPECT_TRUE(world.finished);
  world.give(of(EventKind::kBegin));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning) << "the same command again goes on";
}

TEST(Membership, ASupervisorThatBeginsAgainAsksAgain) {
  World world(new_membership({"a"}, {}, {}, Time{0}), {}, at_least(1));
  world.give(of(EventKind::kBegin));
  world.actions.clear();  // the planner's answer died with the supervisor
  world.give(of(EventKind::kBegin));
  world.settle();
  EXPECT_EQ(world.state.job.state, JobState::kRunning);
}

// ---- every state of up to three nodes -------------------------------------------------------------------

/// A state as an earlier supervisor may have left it, at the world's time.
Membership made(const std::vector<NodeState>& nodes, JobState job, const NodeSet& used, bool stop, Time now) {
  Membership state;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    Node node;
    node.name = std::string(1, static_cast<char>('a' + n));
    node.state = nodes[n];
    node.since = now;
    node.until = now + 20s;
    state.nodes.push_back(node);
  }
  state.job.state = job;
  state.job.since = now;
  state.job.wanted = static_cast<int>(nodes.size());
  state.job.asked_to_stop = stop;
  state.job.save_by = now + 10s;
  state.job.not_before = now;
  if (processes_live(job) || job == JobState::kBackingOff) state.job.plan = PlanChoice{used, used, 1};
  return state;
}

template <class Visit>
void for_each_state(Visit visit) {
  const Time now{1'000'000};
  for (int count = 1; count <= 3; ++count) {
    int combinations = 1;
    for (int i = 0; i < count; ++i) combinations *= kNodeStates;
    for (int code = 0; code < combinations; ++code) {
      std::vector<NodeState> nodes;
      for (int i = 0, rest = code; i < count; ++i, rest /= kNodeStates) {
        nodes.push_back(static_cast<NodeState>(rest % kNodeStates));
      }
      for (int job = 0; job < kJobStates; ++job) {
        for (int mask = 1; mask < 1 << count; ++mask) {
          const auto state = static_cast<JobState>(job);
          const bool has_plan = processes_live(state) || state == JobState::kBackingOff;
          if (!has_plan && mask > 1) continue;
          NodeSet used;
          for (int n = 0; n < count; ++n) {
            if ((mask >> n & 1) != 0) used.push_back(n);
          }
          for (const bool stop : {false, true}) visit(made(nodes, state, used, stop, now));
        }
      }
    }
  }
}

TEST(EveryState, EachEventInEachStateKeepsTheInvariants) {
  std::int64_t transitions = 0;
  for_each_state([&](const Membership& state) {
    const int count = static_cast<int>(state.nodes.size());
    std::vector<Event> events = {of(EventKind::kBegin),       of(EventKind::kRankDied),
                                 of(EventKind::kTraining),    snapshot(5),
                                 of(EventKind::kStopRequest), of(EventKind::kTimer),
                                 ended(Outcome::kCompleted),  ended(Outcome::kSaved),
                                 ended(Outcome::kCrashed),    ended(Outcome::kWrongInput)};
    for (int n = 0; n < count; ++n) {
      for (const EventKind kind :
           {EventKind::kNodeSeen, EventKind::kNodeSilent, EventKind::kRankDied, EventKind::kRankHung}) {
        events.push_back(of(kind, n));
      }
      events.push_back(notice(n, Time{1'010'000}));
    }
    for (int mask = 1; mask < 1 << count; ++mask) {
      Event event = of(EventKind::kPlanReady);
      for (int n = 0; n < count; ++n) {
        if ((mask >> n & 1) != 0) event.plan.offered.push_back(n);
      }
      event.plan.used = event.plan.offered;
      events.push_back(event);
      event.kind = EventKind::kNoPlan;
      events.push_back(event);
    }
    for (const Event& event : events) {
      World world(state, {}, at_least(1));
      const bool final = state.job.state == JobState::kDone || state.job.state == JobState::kFailed;
      world.give(event);
      ++transitions;
      if (final && event.kind != EventKind::kBegin) {
        EXPECT_EQ(world.state.job.state, state.job.state);
      }
      if (::testing::Test::HasFailure()) {
        FAIL() << event_name(event.kind) << " in " << job_state_name(state.job.state) << "\n"
               << world.story();
      }
    }
  });
  EXPECT_GT(transitions, 100'000);
}

TEST(EveryState, FromEachStateTheJobEndsUpRunningWhileSomeFeasibleSetOfNodesLives) {
  for_each_state([&](const Membership& state) {
    const int count = static_cast<int>(state.nodes.size());
    for (int living = 0; living < 1 << count; ++living) {
      for (std::size_t needed = 1; needed <= 2 && !::testing::Test::HasFailure(); ++needed) {
        if (state.job.plan && state.job.plan->used.size() < needed) continue;  // such a plan is never made
        World world(state, {}, at_least(needed));
        for (int n = 0; n < count; ++n) {
          // An announced loss comes true: the machine is gone at the end of the notice.
          world.alive[static_cast<std::size_t>(n)] =
              (living >> n & 1) != 0 &&
              state.nodes[static_cast<std::size_t>(n)].state != NodeState::kDraining;
        }
        world.give(of(EventKind::kBegin));
        // What runs on a machine that is gone falls silent.
        for (int n = 0; n < count; ++n) {
          if (!world.lives(n) &&
              world.state.nodes[static_cast<std::size_t>(n)].state != NodeState::kOnDemand) {
            world.give(of(EventKind::kNodeSilent, n));
          }
        }
        world.settle();
        if (world.state.job.state == JobState::kStarting) {
          world.give(of(EventKind::kTraining));  // an adopted job goes on
        }
        const JobState end = world.state.job.state;
        const bool stopped = state.job.asked_to_stop && end == JobState::kStopped;
        if (state.job.state == JobState::kDone) {
          EXPECT_EQ(end, JobState::kDone);
        } else if (stopped) {
          continue;
        } else if (world.could_run()) {
          EXPECT_EQ(end, JobState::kRunning);
        } else if (end != JobState::kFailed) {
          EXPECT_EQ(end, JobState::kStopped);
        }
        if (::testing::Test::HasFailure()) {
          FAIL() << job_state_name(state.job.state) << ", living " << living << ", needed " << needed << "\n"
                 << world.story();
        }
      }
    }
  });
}

// ---- random walks -----------------------------------------------------------------------------------------

TEST(RandomWalk, InvariantsHoldAndTheJobAlwaysEndsUpRunning) {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const int count = 2 + draw(15);
    std::vector<std::string> names;
    NodeSet spares;
    NodeSet on_demand;
    for (int n = 0; n < count; ++n) {
      names.push_back("n" + std::to_string(n));
      if (n > 0 && draw(5) == 0) {
        spares.push_back(n);
      } else if (n > 0 && draw(6) == 0) {
        on_demand.push_back(n);
      }
    }
    const std::size_t needed = 1 + static_cast<std::size_t>(draw((count + 1) / 2));
    Policy policy;
    policy.jitter_key = seed;
    policy.limit = 1 << 20;  // that a crash loop ends is a test of its own
    World world(new_membership(names, spares, on_demand, Time{0}), policy, at_least(needed));
    world.give(of(EventKind::kBegin));
    std::int64_t step = 0;
    for (int i = 0; i < 300 && !world.finished; ++i) {
      const int n = draw(count);
      switch (draw(10)) {
        case 0:
          world.alive[static_cast<std::size_t>(n)] = false;
          world.give(of(EventKind::kNodeSilent, n));
          break;
        case 1: world.alive[static_cast<std::size_t>(n)] = true; break;
        case 2:
          if (world.lives(n)) world.give(of(EventKind::kNodeSeen, n));
          break;
        case 3: world.give(of(EventKind::kRankDied, n)); break;
        case 4: world.give(notice(n, world.now + Time{draw(120'000)})); break;
        case 5:
          if (world.processes()) world.give(snapshot(++step));
          break;
        case 6:
          if (world.processes()) world.give(ended(Outcome::kCrashed));
          break;
        case 7:
          world.now += Time{draw(30'000)};
          world.give({});
          break;
        case 8: world.give(of(EventKind::kBegin)); break;
        default: world.answer(); break;
      }
    }
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << "\n" << world.story();
    if (world.finished) {  // every node was offered, and they were too few
      EXPECT_LT(static_cast<std::size_t>(count), needed);
      continue;
    }
    world.settle();
    EXPECT_EQ(world.state.job.state, world.could_run() ? JobState::kRunning : JobState::kStopped)
        << "seed " << seed << ", needed " << needed << "\n"
        << world.story();
  }
}

}  // namespace
}  // namespace tessera::recovery
