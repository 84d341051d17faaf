// TaskGraph: precedence, sharing of NICs, and a comparison with explicit time stepping.
#include "planner/sim/task_graph.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace tessera::planner::sim {
namespace {

TEST(TaskGraph, ChainsAndJoins) {
  TaskGraph graph({});
  const int a = graph.add_task(2);
  const int b = graph.add_task(3);
  const int c = graph.add_task(1);
  const int d = graph.add_task(0);
  graph.add_edge(a, c);
  graph.add_edge(b, c);
  graph.add_edge(c, d);
  const TaskTimes times = graph.replay();
  EXPECT_EQ(times.start_s, (std::vector<double>{0, 0, 3, 4}));
  EXPECT_EQ(times.end_s, (std::vector<double>{2, 3, 4, 4}));
}

TEST(TaskGraph, TwoTransfersShareANic) {
  const std::vector<double> nics = {10};
  TaskGraph graph(nics);
  const std::vector<Demand> all = {{0, 10}};
  const int first = graph.add_task(2, all);
  const int wait = graph.add_task(1);
  const int second = graph.add_task(2, all);
  graph.add_edge(wait, second);
  const TaskTimes times = graph.replay();
  EXPECT_EQ(times.end_s[first], 3);
  EXPECT_EQ(times.start_s[second], 1);
  EXPECT_EQ(times.end_s[second], 4);
}

TEST(TaskGraph, TheSlowestNicCounts) {
  // NIC 0 carries 10 + 10 of 10, NIC 1 carries 10 + 30 of 10: the task on both runs at 1/4.
  const std::vector<double> nics = {10, 10};
  TaskGraph graph(nics);
  const int on_zero = graph.add_task(1, std::vector<Demand>{{0, 10}});
  const int on_both = graph.add_task(1, std::vector<Demand>{{0, 10}, {1, 10}});
  const int on_one = graph.add_task(1, std::vector<Demand>{{1, 30}});
  const TaskTimes times = graph.replay();
  // on_zero at 1/2 until 2; on_one at 1/4 until 4; on_both has done 1/4 * 4 by then.
  EXPECT_DOUBLE_EQ(times.end_s[on_zero], 2);
  EXPECT_DOUBLE_EQ(times.end_s[on_both], 4);
  EXPECT_DOUBLE_EQ(times.end_s[on_one], 4);
}

TEST(TaskGraph, DemandsBelowCapacityCostNothing) {
  const std::vector<double> nics = {10};
  TaskGraph graph(nics);
  for (int i = 0; i < 4; ++i) graph.add_task(1 + i, std::vector<Demand>{{0, 2.5}});
  EXPECT_EQ(graph.replay().end_s, (std::vector<double>{1, 2, 3, 4}));
}

TEST(TaskGraph, TwoDemandsOnOneNicAdd) {
  const std::vector<double> nics = {10};
  TaskGraph graph(nics);
  graph.add_task(1, std::vector<Demand>{{0, 10}, {0, 10}});
  EXPECT_EQ(graph.replay().end_s, (std::vector<double>{2}));
}

TEST(TaskGraphDeathTest, CyclesAreFound) {
  TaskGraph graph({});
  graph.add_task(1);
  graph.add_task(1);
  graph.add_edge(0, 1);
  graph.add_edge(1, 0);
  EXPECT_DEATH(static_cast<void>(graph.replay()), "ended == size");
}

struct RandomGraph {
  std::vector<double> nics;
  std::vector<double> seconds;
  std::vector<std::vector<Demand>> demands;
  std::vector<std::vector<int>> predecessors;
};

RandomGraph random_graph(std::mt19937& random) {
  const auto real = [&](double low, double high) {
    return std::uniform_real_distribution(low, high)(random);
  };
  RandomGraph graph;
  graph.nics = {real(1, 2), real(1, 2), real(1, 2)};
  for (int i = 0; i < 14; ++i) {
    graph.seconds.push_back(real(0, 2));
    graph.demands.emplace_back();
    graph.predecessors.emplace_back();
    for (int n = 0; n < 3; ++n) {
      if (real(0, 1) < 0.4) graph.demands.back().push_back({n, real(0.3, 1.5)});
    }
    for (int before = 0; before < i; ++before) {
      if (real(0, 1) < 0.15) graph.predecessors.back().push_back(before);
    }
  }
  return graph;
}

/// Explicit time stepping: every `step` seconds the speeds follow from who runs. O(end / step * tasks).
std::vector<double> stepped_ends(const RandomGraph& graph, double step) {
  const std::size_t n = graph.seconds.size();
  std::vector<double> left = graph.seconds;
  std::vector<double> end(n, -1);
  for (long tick = 0; std::ranges::count(end, -1) > 0; ++tick) {
    std::vector<bool> runs(n);
    std::vector<double> load(graph.nics.size());
    for (std::size_t i = 0; i < n; ++i) {
      runs[i] = end[i] < 0 && std::ranges::all_of(graph.predecessors[i], [&](int p) { return end[p] >= 0; });
      if (!runs[i]) continue;
      for (const Demand& demand : graph.demands[i]) load[demand.nic] += demand.bytes_per_s;
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (!runs[i]) continue;
      double speed = 1;
      for (const Demand& demand : graph.demands[i]) {
        speed = std::min(speed, graph.nics[demand.nic] / load[demand.nic]);
      }
      left[i] -= step * speed;
      if (left[i] <= 0) end[i] = static_cast<double>(tick + 1) * step;
    }
  }
  return end;
}

TEST(TaskGraph, AgreesWithTimeStepping) {
  std::mt19937 random(7);
  constexpr double kStep = 1e-4;
  for (int round = 0; round < 30; ++round) {
    const RandomGraph spec = random_graph(random);
    TaskGraph graph(spec.nics);
    for (std::size_t i = 0; i < spec.seconds.size(); ++i) {
      graph.add_task(spec.seconds[i], spec.demands[i]);
      for (const int before : spec.predecessors[i]) graph.add_edge(before, static_cast<int>(i));
    }
    const TaskTimes times = graph.replay();
    const std::vector<double> stepped = stepped_ends(spec, kStep);
    // Every one of 14 tasks notices its start and each change of speed at most one step late. A chain of 14,
    // each late by 28 changes (a start and an end per task), is far above what happens.
    for (std::size_t i = 0; i < stepped.size(); ++i) {
      EXPECT_NEAR(times.end_s[i], stepped[i], 14 * 28 * kStep) << "round " << round << " task " << i;
    }
  }
}

TEST(TaskGraph, NoNicIsOverloaded) {
  // Integral of the load over time = bytes asked for, and the busy time of a NIC is at least bytes /
  // capacity.
  std::mt19937 random(8);
  for (int round = 0; round < 100; ++round) {
    RandomGraph spec = random_graph(random);
    for (auto& demands : spec.demands) demands = {{0, 1.0 + static_cast<double>(round % 3)}};
    TaskGraph graph(spec.nics);
    double bytes = 0;
    for (std::size_t i = 0; i < spec.seconds.size(); ++i) {
      graph.add_task(spec.seconds[i], spec.demands[i]);  // all at once
      bytes += spec.seconds[i] * spec.demands[i][0].bytes_per_s;
    }
    const TaskTimes times = graph.replay();
    EXPECT_GE(*std::ranges::max_element(times.end_s), bytes / spec.nics[0] * (1 - 1e-12));
    // All tasks load the same NIC: while it is overloaded it carries exactly its capacity.
    const double longest = *std::ranges::max_element(spec.seconds);
    EXPECT_LE(*std::ranges::max_element(times.end_s), bytes / spec.nics[0] + longest + 1e-9);
  }
}

}  // namespace
}  // namespace tessera::planner::sim
