// The simulated iteration against closed forms, against an independent solver of the equations that define
// it, and against its own rules.
#include "planner/sim/iteration.h"

#include <array>
#include <map>
#include <tuple>

#include <gtest/gtest.h>

#include "planner/plan/one_f_one_b.h"
#include "planner/sim/closed_form.h"
#include "tests/planner/sim/random_iteration.h"

namespace tessera::planner::sim {
namespace {

Iteration balanced(int stages, int micro_batches, double forward, double backward) {
  Iteration iteration;
  iteration.groups.push_back(
      {std::vector<Stage>(stages, Stage{"", forward, backward, 0, {}, {}, 0, 0, 0}), micro_batches});
  return iteration;
}

TEST(OneFOneB, TheExampleOfItsHeader) {
  std::string text;
  for (const PipelineSlot& slot : one_f_one_b(3, 1, 4)) {
    text += (slot.backward ? "B" : "F") + std::to_string(slot.micro_batch) + " ";
  }
  EXPECT_EQ(text, "F0 F1 B0 F2 B1 F3 B2 B3 ");
}

TEST(OneFOneB, HoldsAsFewAsItMay) {
  // Independent statement of 1F1B: go forward while fewer than stages - stage are in flight, else backward.
  for (int stages = 1; stages <= 6; ++stages) {
    for (int stage = 0; stage < stages; ++stage) {
      for (int m = 1; m <= 9; ++m) {
        int forwards = 0;
        int backwards = 0;
        for (const PipelineSlot& slot : one_f_one_b(stages, stage, m)) {
          const bool forward = forwards < m && forwards - backwards < stages - stage;
          ASSERT_EQ(slot.backward, !forward);
          ASSERT_EQ(slot.micro_batch, forward ? forwards : backwards);
          ++(forward ? forwards : backwards);
        }
        ASSERT_EQ(forwards, m);
        ASSERT_EQ(backwards, m);
      }
    }
  }
}

TEST(Iteration, BalancedPipelineHasItsClosedForm) {
  for (int stages = 1; stages <= 8; ++stages) {
    for (int m = 1; m <= 20; ++m) {
      for (const auto& [forward, backward] :
           {std::pair(1.0, 2.0), std::pair(1.0, 1.0), std::pair(3.0, 1.0)}) {
        const Iteration iteration = balanced(stages, m, forward, backward);
        const Timeline timeline = simulate(iteration);
        EXPECT_DOUBLE_EQ(timeline.iteration_s, (m + stages - 1) * (forward + backward));
        EXPECT_NEAR(bubble_share(timeline), (stages - 1.0) / (m + stages - 1.0), 1e-12);
        EXPECT_DOUBLE_EQ(closed_form_s(iteration.groups[0]), timeline.iteration_s);
      }
    }
  }
}

TEST(Iteration, OneBottleneckStageHasItsClosedForm) {
  // Stage k takes three times as long as the others, and its in-flight limit covers its round trip: it never
  // waits. It starts after k forwards and k backwards follow it; the rest of the pipeline hides behind it,
  // which is why the analytic forms, which count every stage's first pass, lie above unless k is the last.
  for (int k = 0; k < 5; ++k) {
    Iteration iteration = balanced(5, 12, 1, 1);
    iteration.groups[0].stages[k] = Stage{"", 3, 3, 0, {}, {}, 0, 0, 0};
    EXPECT_DOUBLE_EQ(simulate(iteration).iteration_s, 12 * 6 + 2 * k) << k;
    EXPECT_DOUBLE_EQ(bottleneck_form_s(iteration.groups[0]), (4 * 2 + 6) + 11 * 6);
  }
}

TEST(Iteration, BlockingSendsCountAsWork) {
  // Two stages, send times 0.5 and 0.25, many micro-batches: the period is the first stage's 3 + 0.5.
  Iteration iteration = balanced(2, 10, 1, 2);
  iteration.groups[0].stages[0].send_activation.seconds = 0.5;
  iteration.groups[0].stages[1].send_gradient.seconds = 0.25;
  iteration.blocking_sends = true;
  const Timeline timeline = simulate(iteration);
  const auto start = [&](int i) { return find_task(timeline, TaskKind::kBackward, 0, 0, i)->start_s; };
  EXPECT_NEAR(start(7) - start(6), 3.5, 1e-12);
}

TEST(Iteration, OneMicroBatchGoesThereAndBack) {
  Iteration iteration = balanced(4, 1, 1, 2);
  for (Stage& stage : iteration.groups[0].stages) {
    stage.send_activation.seconds = 0.5;
    stage.send_gradient.seconds = 0.25;
  }
  EXPECT_DOUBLE_EQ(simulate(iteration).iteration_s, 4 * 3 + 3 * 0.75);
}

TEST(Iteration, ReductionHidesInTheCoolDown) {
  // Two groups of two balanced stages. The last stage's backward ends 2 s (one backward) before the first's.
  Iteration iteration = balanced(2, 4, 1, 2);
  iteration.groups.push_back(iteration.groups[0]);
  iteration.segments = {{"late", {1.5, {}}, {}, {{0, 1, 1}, {1, 1, 1}}},
                        {"early", {1.0, {}}, {}, {{0, 0, 1}, {1, 0, 1}}}};
  const Timeline timeline = simulate(iteration);
  EXPECT_DOUBLE_EQ(timeline.pipeline_s, 15);
  EXPECT_DOUBLE_EQ(find_task(timeline, TaskKind::kReduce, -1, -1, 0)->start_s, 13);
  EXPECT_DOUBLE_EQ(timeline.reduce_exposed_s, 1);  // "early" alone
  // Gradients of the upper half of stage 0's layers are complete halfway through its last backward.
  iteration.segments[1].owners = {{0, 0, 0.5}, {1, 0, 0.5}};
  EXPECT_DOUBLE_EQ(simulate(iteration).reduce_exposed_s, 0);
}

TEST(Iteration, GroupsShareANic) {
  // Two groups reduce nothing but send over one NIC that carries one message at full speed.
  Iteration iteration = balanced(2, 1, 1, 2);
  iteration.nic_bytes_per_s = {100};
  iteration.groups[0].stages[0].send_activation = {1, {{0, 100}}};
  iteration.groups.push_back(iteration.groups[0]);
  const Timeline timeline = simulate(iteration);
  EXPECT_DOUBLE_EQ(find_task(timeline, TaskKind::kSendActivation, 0, 0, 0)->end_s, 3);
  EXPECT_DOUBLE_EQ(timeline.iteration_s, 1 + 2 + 3 + 2);
}

/// Solves the equations of an iteration without contention by relaxation from zero until nothing moves:
/// every start is the maximum of what must be over before. Written from the definitions in iteration.h,
/// sharing no code with the simulator; the order of a stage follows from the in-flight rule.
class Relaxation {
 public:
  using Key = std::tuple<TaskKind, int, int, int>;

  explicit Relaxation(const Iteration& iteration) : it_(iteration) {
    for (bool moved = true; moved;) {
      moved = false;
      for (int g = 0; g < static_cast<int>(it_.groups.size()); ++g) {
        for (int s = 0; s < static_cast<int>(it_.groups[g].stages.size()); ++s) moved |= stage(g, s);
      }
      moved |= tail();
    }
  }

  [[nodiscard]] std::pair<double, double> times(const Key& key) const {
    return {start_.at(key), end_.at(key)};
  }
  [[nodiscard]] std::size_t tasks() const { return end_.size(); }
  [[nodiscard]] double last_end() const {
    double last = 0;
    for (const auto& [key, end] : end_) last = std::max(last, end);
    return last;
  }

 private:
  double end(TaskKind kind, int g, int s, int i) {
    const auto at = end_.find({kind, g, s, i});
    return at == end_.end() ? 0 : at->second;
  }
  bool set(TaskKind kind, int g, int s, int i, double start, double seconds) {
    const Key key{kind, g, s, i};
    const bool moved = !start_.contains(key) || start_[key] != start;
    start_[key] = start;
    end_[key] = start + seconds;
    return moved;
  }

  bool stage(int g, int s) {
    const Group& group = it_.groups[g];
    const Stage& here = group.stages[s];
    const int depth = static_cast<int>(group.stages.size());
    const int m = group.micro_batches;
    bool moved = false;
    double free = 0;
    for (int forwards = 0, backwards = 0; backwards < m;) {
      if (forwards < m && forwards - backwards < depth - s) {
        const int i = forwards++;
        const double arrives = s == 0 ? 0 : end(TaskKind::kSendActivation, g, s - 1, i);
        moved |= set(TaskKind::kForward, g, s, i, std::max(free, arrives), here.forward_s);
        free = end(TaskKind::kForward, g, s, i);
        if (s + 1 < depth) {
          const double link = i == 0 ? 0 : end(TaskKind::kSendActivation, g, s, i - 1);
          moved |=
              set(TaskKind::kSendActivation, g, s, i, std::max(link, free), here.send_activation.seconds);
          if (it_.blocking_sends) free = end(TaskKind::kSendActivation, g, s, i);
        }
      } else {
        const int i = backwards++;
        const double arrives = s + 1 == depth ? 0 : end(TaskKind::kSendGradient, g, s + 1, i);
        moved |= set(TaskKind::kBackward, g, s, i, std::max(free, arrives), here.backward_s);
        free = end(TaskKind::kBackward, g, s, i);
        if (s > 0) {
          const double link = i == 0 ? 0 : end(TaskKind::kSendGradient, g, s, i - 1);
          moved |= set(TaskKind::kSendGradient, g, s, i, std::max(link, free), here.send_gradient.seconds);
          if (it_.blocking_sends) free = end(TaskKind::kSendGradient, g, s, i);
        }
      }
    }
    last_[{g, s}] = free;
    return moved;
  }

  bool tail() {
    bool moved = false;
    std::map<std::pair<int, int>, double> stream;
    double all = 0;
    for (int n = 0; n < static_cast<int>(it_.segments.size()); ++n) {
      double start = 0;
      for (const Owner& owner : it_.segments[n].owners) {
        const int last = it_.groups[owner.group].micro_batches - 1;
        const double ready = start_.at({TaskKind::kBackward, owner.group, owner.stage, last}) +
                             owner.ready * it_.groups[owner.group].stages[owner.stage].backward_s;
        start = std::max({start, ready, stream[{owner.group, owner.stage}]});
      }
      moved |= set(TaskKind::kReduce, -1, -1, n, start, it_.segments[n].reduce.seconds);
      for (const Owner& owner : it_.segments[n].owners) {
        stream[{owner.group, owner.stage}] = end(TaskKind::kReduce, -1, -1, n);
      }
      all = std::max(all, end(TaskKind::kReduce, -1, -1, n));
    }
    for (int g = 0; g < static_cast<int>(it_.groups.size()); ++g) {
      for (int s = 0; s < static_cast<int>(it_.groups[g].stages.size()); ++s) {
        all = std::max(all, last_[{g, s}]);
      }
    }
    for (int g = 0; g < static_cast<int>(it_.groups.size()); ++g) {
      for (int s = 0; s < static_cast<int>(it_.groups[g].stages.size()); ++s) {
        const double own = std::max(stream[{g, s}], last_[{g, s}]);
        moved |=
            set(TaskKind::kUpdate, g, s, 0, it_.norm_barrier ? all : own, it_.groups[g].stages[s].update_s);
        stream[{g, s}] = end(TaskKind::kUpdate, g, s, 0);
      }
    }
    for (int n = 0; n < static_cast<int>(it_.segments.size()); ++n) {
      if (it_.segments[n].gather.seconds == 0) continue;
      double start = 0;
      for (const Owner& owner : it_.segments[n].owners) {
        start = std::max(start, stream[{owner.group, owner.stage}]);
      }
      moved |= set(TaskKind::kGather, -1, -1, n, start, it_.segments[n].gather.seconds);
      for (const Owner& owner : it_.segments[n].owners) {
        stream[{owner.group, owner.stage}] = end(TaskKind::kGather, -1, -1, n);
      }
    }
    return moved;
  }

  const Iteration& it_;
  std::map<std::pair<int, int>, double> last_;  // end of each stage's work
  std::map<Key, double> start_;
  std::map<Key, double> end_;
};

TEST(Iteration, EveryTaskAgreesWithTheEquations) {
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    const Iteration iteration = random_iteration(random, {});
    const Timeline timeline = simulate(iteration);
    const Relaxation expected(iteration);
    ASSERT_EQ(timeline.tasks.size(), expected.tasks()) << round;
    for (const Task& task : timeline.tasks) {
      const auto [start, end] = expected.times({task.kind, task.group, task.stage, task.index});
      // Sums of at most some hundred terms below 10: a few hundred roundings of 1e-15.
      ASSERT_NEAR(task.start_s, start, 1e-11) << round << " kind " << static_cast<int>(task.kind);
      ASSERT_NEAR(task.end_s, end, 1e-11) << round << " kind " << static_cast<int>(task.kind);
    }
    EXPECT_NEAR(timeline.iteration_s, expected.last_end(), 1e-11);
    EXPECT_NEAR(
        timeline.pipeline_s + timeline.reduce_exposed_s + timeline.update_s + timeline.gather_exposed_s,
        timeline.iteration_s, 1e-11);
  }
}

TEST(Iteration, SharingANicNeverHelps) {
  // Not true of every task graph, but here orders are fixed: later ends can only delay what follows.
  std::mt19937 random(12);
  int slower = 0;
  for (int round = 0; round < 200; ++round) {
    Iteration iteration = random_iteration(random, {.nics = 3, .loaded = 0.7});
    const double shared = simulate(iteration).iteration_s;
    std::fill(iteration.nic_bytes_per_s.begin(), iteration.nic_bytes_per_s.end(), 1e9);
    const double alone = simulate(iteration).iteration_s;
    EXPECT_GE(shared, alone - 1e-9);
    slower += shared > alone * 1.001 ? 1 : 0;
  }
  EXPECT_GT(slower, 20);  // the instances do contend
}

/// The rules of iteration.h for a timeline with contention, where no closed equations exist.
void expect_rules(const Iteration& iteration, const Timeline& timeline) {
  std::map<std::tuple<TaskKind, int, int, int>, Task> by_key;
  for (const Task& task : timeline.tasks) by_key[{task.kind, task.group, task.stage, task.index}] = task;
  const auto at = [&](TaskKind kind, int g, int s, int i) { return by_key.at({kind, g, s, i}); };
  constexpr double kSlack = 1e-11;
  for (int g = 0; g < static_cast<int>(iteration.groups.size()); ++g) {
    const Group& group = iteration.groups[g];
    const int depth = static_cast<int>(group.stages.size());
    for (int s = 0; s < depth; ++s) {
      std::vector<Task> own;
      for (int i = 0; i < group.micro_batches; ++i) {
        const Task forward = at(TaskKind::kForward, g, s, i);
        const Task backward = at(TaskKind::kBackward, g, s, i);
        own.push_back(forward);
        own.push_back(backward);
        EXPECT_GE(backward.start_s, forward.end_s - kSlack);
        EXPECT_NEAR(forward.end_s - forward.start_s, group.stages[s].forward_s, kSlack);
        EXPECT_NEAR(backward.end_s - backward.start_s, group.stages[s].backward_s, kSlack);
        if (s + 1 < depth) {
          const Task send = at(TaskKind::kSendActivation, g, s, i);
          EXPECT_GE(send.start_s, forward.end_s - kSlack);
          EXPECT_GE(send.end_s - send.start_s, group.stages[s].send_activation.seconds - kSlack);
          EXPECT_GE(at(TaskKind::kForward, g, s + 1, i).start_s, send.end_s - kSlack);
        }
        if (s > 0) {
          const Task send = at(TaskKind::kSendGradient, g, s, i);
          EXPECT_GE(send.start_s, backward.end_s - kSlack);
          EXPECT_GE(at(TaskKind::kBackward, g, s - 1, i).start_s, send.end_s - kSlack);
        }
      }
      std::ranges::sort(own, {}, &Task::start_s);
      for (std::size_t k = 1; k < own.size(); ++k) EXPECT_GE(own[k].start_s, own[k - 1].end_s - kSlack);
    }
  }
}

TEST(Iteration, RulesHoldUnderContention) {
  std::mt19937 random(13);
  for (int round = 0; round < 100; ++round) {
    const Iteration iteration = random_iteration(random, {.nics = 2, .loaded = 0.9});
    expect_rules(iteration, simulate(iteration));
  }
}

TEST(Iteration, ReplaysTheSameWayEveryTime) {
  std::mt19937 random(14);
  const Iteration iteration = random_iteration(random, {.nics = 2, .loaded = 0.9});
  const Timeline first = simulate(iteration);
  const Timeline second = simulate(iteration);
  ASSERT_EQ(first.tasks.size(), second.tasks.size());
  for (std::size_t i = 0; i < first.tasks.size(); ++i) EXPECT_EQ(first.tasks[i].end_s, second.tasks[i].end_s);
}

}  // namespace
}  // namespace tessera::planner::sim
