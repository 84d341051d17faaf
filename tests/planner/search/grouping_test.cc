// The exact search against brute force over all groupings, orders, cuts and allocations.
#include "planner/search/grouping.h"

#include <numeric>

#include <gtest/gtest.h>

#include "planner/search/price_bound.h"
#include "tests/planner/search/brute_force.h"
#include "tests/planner/search/random_problem.h"

namespace tessera::planner {
namespace {

using testing::BruteForce;
using testing::ProblemLimits;
using testing::random_problem;

// Both sides add the same numbers in different orders, and the bisection stops at 1e-10.
constexpr double kRelative = 1e-9;

/// The answer is legal for the problem and takes the time it says.
void expect_legal(const PipelineProblem& problem, const Grouping& answer) {
  std::vector<int> used(problem.units.size(), 0);
  std::int64_t micro_batches = 0;
  double slowest = 0;
  for (const GroupChoice& group : answer.groups) {
    EXPECT_GE(group.micro_batches, 1);
    EXPECT_LE(static_cast<int>(group.stages.size()), problem.max_depth);
    micro_batches += group.micro_batches;
    int next = 0;
    for (const StageChoice& stage : group.stages) {
      ++used[static_cast<std::size_t>(stage.type)];
      EXPECT_EQ(stage.first_layer, next);
      EXPECT_GE(stage.layers, 1);
      next += stage.layers;
    }
    EXPECT_EQ(next, problem.stages.layers());
    slowest = std::max(slowest, group_seconds(problem, group));
  }
  EXPECT_EQ(micro_batches, problem.micro_batches);
  for (std::size_t k = 0; k < used.size(); ++k) EXPECT_LE(used[k], problem.units[k]);
  EXPECT_NEAR(slowest, answer.seconds, kRelative * slowest);
}

void expect_optimal(const PipelineProblem& problem, const Grouping& answer, double optimum) {
  EXPECT_TRUE(answer.exact);
  if (optimum == kInfinite) {
    EXPECT_TRUE(answer.groups.empty());
    EXPECT_EQ(answer.lower_bound, kInfinite);
    return;
  }
  ASSERT_FALSE(answer.groups.empty());
  expect_legal(problem, answer);
  EXPECT_NEAR(answer.seconds, optimum, kRelative * optimum);
  EXPECT_LE(answer.lower_bound, optimum * (1 + kRelative));
  EXPECT_GE(answer.lower_bound, optimum * (1 - kRelative));
}

/// The price bound is never above the optimum, nor below the work bound. Its share of the optimum.
double price_bound_share(const PipelineProblem& problem, double optimum, int most_groups) {
  const double bound = price_bound(problem, {.most_groups = most_groups, .enough_s = 4 * optimum});
  EXPECT_LE(bound, optimum * (1 + kRelative));
  EXPECT_GE(bound, work_bound(problem) * (1 - kRelative));
  return bound / optimum;
}

struct Sweep {
  int types;
  int most_units;
  int most_layers;
  bool alike;
  int instances;
};

class GroupingSweep : public ::testing::TestWithParam<Sweep> {};

TEST_P(GroupingSweep, IsOptimalInBothModes) {
  const Sweep sweep = GetParam();
  std::mt19937_64 random(
      static_cast<std::uint64_t>(sweep.types * 100 + sweep.most_layers * 10 + sweep.alike));
  int infeasible = 0;
  double closeness = 0;
  double work_closeness = 0;
  for (int i = 0; i < sweep.instances; ++i) {
    SCOPED_TRACE(i);
    const PipelineProblem problem = random_problem(
        random,
        {sweep.types, sweep.most_units, sweep.most_units / 2, sweep.most_layers, 8, sweep.alike, true});
    const BruteForce brute(problem);
    const double optimum = brute.best(false);
    infeasible += optimum == kInfinite ? 1 : 0;
    expect_optimal(problem, solve_grouping(problem), optimum);
    expect_optimal(problem, solve_grouping(problem, {.mode = MicroBatchMode::kEqual}), brute.best(true));
    if (optimum < kInfinite) {
      closeness += price_bound_share(problem, optimum, 1 << 20);
      work_closeness += work_bound(problem) / optimum;
    }
    if (HasFailure()) return;
  }
  EXPECT_LT(infeasible, sweep.instances / 2) << "the instances say little";
  // Whole groups of few units make any relaxation loose; knowing stages, it is far closer than work alone.
  EXPECT_GT(closeness, 1.2 * work_closeness);
}

// 620 instances, each in both modes.
INSTANTIATE_TEST_SUITE_P(Random, GroupingSweep,
                         ::testing::Values(Sweep{2, 6, 9, true, 220}, Sweep{3, 6, 8, true, 120},
                                           Sweep{2, 6, 8, false, 160}, Sweep{3, 6, 7, false, 80},
                                           Sweep{1, 6, 9, true, 40}));

TEST(Grouping, HoldsTheNumberOfGroupsInARange) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 120; ++i) {
    SCOPED_TRACE(i);
    const PipelineProblem problem = random_problem(random, {2, 5, 2, 5, 6, true, true});
    const BruteForce brute(problem);
    const int least = 1 + i % 3;
    const int most = least + i % 2;
    const double optimum = brute.best(false, least, most);
    expect_optimal(problem, solve_grouping(problem, {.count = {least, most}}), optimum);
    if (optimum < kInfinite) (void)price_bound_share(problem, optimum, most);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace tessera::planner
