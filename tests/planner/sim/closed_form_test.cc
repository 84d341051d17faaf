// The analytic iteration time against the event simulator: the accuracy table of the AutoHet notes (2.3),
// with the sizes it names, 1200 instances per row. `--gtest_filter=*Accuracy*` prints it as docs/planner.md
// has it.
#include "planner/sim/closed_form.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::planner::sim {
namespace {

struct Row {
  const char* stages;
  double low, high;  // stage times, relative
  double transfer;   // one-way seconds as a share of the mean stage time
  // What the notes found, in per cent: the usual form's median; with round trip the 5th, 50th, 95th
  // percentile.
  double usual_median, low_error, median_error, high_error;
};

struct Errors {
  std::vector<double> usual;       // form / simulated - 1, sorted
  std::vector<double> round_trip;  // the same with the round-trip term
  std::vector<double> windows;     // the same with all windows
};

Errors errors_of(const Row& row, int instances) {
  std::mt19937 random(2025);
  Errors errors;
  for (int n = 0; n < instances; ++n) {
    const int stages = std::uniform_int_distribution(2, 8)(random);
    const int m = std::uniform_int_distribution(stages, 8 * stages)(random);
    Iteration iteration;
    Group& group = iteration.groups.emplace_back();
    group.micro_batches = m;
    for (int s = 0; s < stages; ++s) {
      const double u = std::uniform_real_distribution(row.low, row.high)(random);
      Stage stage{"", u / 3, 2 * u / 3, 0, {}, {}, 0, 0, 0};
      stage.send_activation.seconds = row.transfer;
      stage.send_gradient.seconds = row.transfer;
      group.stages.push_back(stage);
    }
    const double simulated = simulate(iteration).iteration_s;
    errors.usual.push_back(bottleneck_form_s(group) / simulated - 1);
    errors.round_trip.push_back(round_trip_form_s(group) / simulated - 1);
    errors.windows.push_back(closed_form_s(group) / simulated - 1);
  }
  std::ranges::sort(errors.usual);
  std::ranges::sort(errors.round_trip);
  std::ranges::sort(errors.windows);
  return errors;
}

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

TEST(ClosedForm, AccuracyAgainstTheSimulator) {
  constexpr Row kRows[] = {{"balanced +-5 %", 0.95, 1.05, 0, 0.2, 0, 0.2, 1.0},
                           {"balanced +-5 %", 0.95, 1.05, 0.1, -8.2, -0.8, 0, 0.8},
                           {"balanced +-5 %", 0.95, 1.05, 0.3, -23, -1.3, 0.1, 2.3},
                           {"0.6 to 1.6", 0.6, 1.6, 0.1, 0, -2.3, 0.2, 5.3}};
  std::printf(
      "| stages | transfer | usual form: min / median / max | round trip: 5th / median / 95th | all "
      "windows: 5th / median / 95th |\n");
  for (const Row& row : kRows) {
    const Errors e = errors_of(row, 1200);
    std::printf(
        "| %s | %.0f %% | %+.1f %% / %+.1f %% / %+.1f %% | %+.1f %% / %+.1f %% / %+.1f %% | %+.1f %% / %+.1f "
        "%% / "
        "%+.1f %% |\n",
        row.stages, 100 * row.transfer, 100 * e.usual.front(), 100 * quantile(e.usual, 0.5),
        100 * e.usual.back(), 100 * quantile(e.round_trip, 0.05), 100 * quantile(e.round_trip, 0.5),
        100 * quantile(e.round_trip, 0.95), 100 * quantile(e.windows, 0.05), 100 * quantile(e.windows, 0.5),
        100 * quantile(e.windows, 0.95));
    // More windows can only lengthen the form; what they add is waiting that the simulator sees too.
    EXPECT_GE(quantile(e.windows, 0.05), quantile(e.round_trip, 0.05));
    EXPECT_LE(100 * quantile(e.windows, 0.95), row.high_error + 1.5);
    // The notes do not give their random numbers, the split of a stage into forward and backward, or what
    // queues on a link: medians within half a point, tails within one and a half.
    EXPECT_NEAR(100 * quantile(e.usual, 0.5), row.usual_median, 0.5);
    EXPECT_NEAR(100 * quantile(e.round_trip, 0.05), row.low_error, 1.5);
    EXPECT_NEAR(100 * quantile(e.round_trip, 0.5), row.median_error, 0.5);
    EXPECT_NEAR(100 * quantile(e.round_trip, 0.95), row.high_error, 1.5);
  }
}

}  // namespace
}  // namespace tessera::planner::sim
