// Memory over time: peaks against the in-flight formula, curves against a recount at every instant.
#include "planner/sim/memory_curve.h"

#include <gtest/gtest.h>

#include "tests/planner/sim/random_iteration.h"

namespace tessera::planner::sim {
namespace {

TEST(MemoryCurve, PeakIsTheInFlightFormula) {
  std::mt19937 random(21);
  for (int round = 0; round < 100; ++round) {
    const Iteration iteration = random_iteration(random, {});
    const auto curves = memory_curves(iteration, simulate(iteration));
    for (std::size_t g = 0; g < curves.size(); ++g) {
      const Group& group = iteration.groups[g];
      for (std::size_t s = 0; s < curves[g].size(); ++s) {
        const Stage& stage = group.stages[s];
        const int in_flight = std::min(static_cast<int>(group.stages.size() - s), group.micro_batches);
        EXPECT_NEAR(curves[g][s].peak_bytes,
                    stage.static_bytes + in_flight * stage.activation_bytes + stage.workspace_bytes, 1e-9);
        EXPECT_NEAR(curves[g][s].points.back().bytes, stage.static_bytes, 1e-9);
      }
    }
  }
}

TEST(MemoryCurve, EveryPointIsARecount) {
  std::mt19937 random(22);
  for (int round = 0; round < 50; ++round) {
    const Iteration iteration = random_iteration(random, {});
    const Timeline timeline = simulate(iteration);
    const auto curves = memory_curves(iteration, timeline);
    for (int g = 0; g < static_cast<int>(curves.size()); ++g) {
      for (int s = 0; s < static_cast<int>(curves[g].size()); ++s) {
        const auto& points = curves[g][s].points;
        for (std::size_t k = 0; k + 1 < points.size(); ++k) {
          ASSERT_LT(points[k].time_s, points[k + 1].time_s);
          const double instant = (points[k].time_s + points[k + 1].time_s) / 2;
          const Stage& stage = iteration.groups[g].stages[s];
          double bytes = stage.static_bytes;
          for (int i = 0; i < iteration.groups[g].micro_batches; ++i) {
            const Task& forward = *find_task(timeline, TaskKind::kForward, g, s, i);
            const Task& backward = *find_task(timeline, TaskKind::kBackward, g, s, i);
            const auto holds = [&](double from, double to) { return from < instant && instant < to; };
            if (holds(forward.start_s, backward.end_s)) bytes += stage.activation_bytes;
            if (holds(forward.start_s, forward.end_s)) bytes += stage.workspace_bytes;
            if (holds(backward.start_s, backward.end_s)) bytes += stage.workspace_bytes;
          }
          ASSERT_NEAR(points[k].bytes, bytes, 1e-9)
              << "round " << round << " stage " << s << " at " << instant;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::planner::sim
