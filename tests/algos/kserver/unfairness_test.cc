// How unfair Double Coverage can be on a tree: one role pays (k+1)/(2k) of everything, and not more.
//
// The worst share of role 0 is the largest ratio (cost of role 0) / (cost of all) over all cycles in the
// graph of all configurations and requests. A ratio p/q is refuted when no cycle has a positive sum of q *
// (cost of role 0) - p * (cost of all): whole numbers, so the answers are exact.
#include <gtest/gtest.h>

#include "algos/kserver/double_coverage_line.h"
#include "algos/kserver/double_coverage_tree.h"
#include "tests/algos/kserver/trees.h"

namespace tessera::kserver {
namespace {

enum class Ties { kLowestNumber, kNever };

class Configurations {
 public:
  /// All configurations of k roles on the nodes of a tree with edges of length 1, and all requests.
  /// Ties::kNever leaves out the steps whose outcome depends on the tie rule: those that the highest number
  /// would change.
  Configurations(const TreeMetric& tree, int k, Ties ties) : n_(static_cast<std::size_t>(tree.points())) {
    std::size_t count = 1;
    for (int i = 0; i < k; ++i) count *= n_;
    first_.push_back(0);
    for (std::size_t state = 0; state < count; ++state) {
      std::vector<Point> starts;
      for (std::size_t rest = state; starts.size() < static_cast<std::size_t>(k); rest /= n_) {
        starts.emplace_back(static_cast<std::int32_t>(rest % n_));
      }
      for (std::size_t request = 0; request < n_; ++request) add_step(tree, starts, request, ties);
      first_.push_back(steps_.size());
    }
  }

  /// Whether role 0 can pay more than p/q of everything for ever.
  [[nodiscard]] bool can_exceed(std::int64_t p, std::int64_t q) const {
    const std::size_t count = first_.size() - 1;
    std::vector<std::int64_t> value(count, 0);
    std::vector<std::size_t> choice(count, kNone);
    for (std::size_t sweep = 1;; ++sweep) {
      bool changed = false;
      for (std::size_t state = count; state-- > 0;) {
        for (std::size_t i = first_[state]; i < first_[state + 1]; ++i) {
          const std::int64_t gain = q * steps_[i].first_role - p * steps_[i].all + value[steps_[i].to];
          if (gain <= value[state]) continue;
          value[state] = gain;
          choice[state] = i;
          changed = true;
        }
      }
      if (!changed) return false;
      if (sweep % 8 == 0 && has_cycle(choice)) return true;
    }
  }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  struct Step {
    std::size_t to;
    Distance first_role;
    Distance all;
  };

  void add_step(const TreeMetric& tree, const std::vector<Point>& starts, std::size_t request, Ties ties) {
    const Point r(static_cast<std::int32_t>(request));
    DoubleCoverageTree coverage(tree, starts);
    coverage.serve(r);
    if (coverage.total() == 0) return;
    const std::size_t k = starts.size();
    if (ties == Ties::kNever) {
      DoubleCoverageTree mirrored(tree, {starts.rbegin(), starts.rend()});
      mirrored.serve(r);
      for (std::size_t i = 0; i < k; ++i) {
        if (coverage.costs()[i] != mirrored.costs()[k - 1 - i]) return;
      }
    }
    std::size_t to = 0;
    for (std::size_t i = k; i-- > 0;) {
      to = to * n_ +
           static_cast<std::size_t>(coverage.place_of(Role(static_cast<std::int32_t>(i))).below.value);
    }
    steps_.push_back({to, coverage.costs()[0], coverage.total()});
  }

  /// Each state's best step leads to a value that it raised; only a positive cycle can close on itself.
  [[nodiscard]] bool has_cycle(const std::vector<std::size_t>& choice) const {
    std::vector<std::size_t> seen(choice.size(), kNone);
    for (std::size_t from = 0; from < choice.size(); ++from) {
      std::size_t state = from;
      while (choice[state] != kNone && seen[state] == kNone) {
        seen[state] = from;
        state = steps_[choice[state]].to;
      }
      if (choice[state] != kNone && seen[state] == from) return true;
    }
    return false;
  }

  std::size_t n_;
  std::vector<Step> steps_;
  std::vector<std::size_t> first_;
};

/// The worst share is p/q: not more, and more than any 1/1000 less.
void expect_worst_share(const TreeMetric& tree, int k, Ties ties, std::int64_t p, std::int64_t q) {
  const Configurations all(tree, k, ties);
  EXPECT_FALSE(all.can_exceed(p, q));
  EXPECT_TRUE(all.can_exceed(1000 * p - q, 1000 * q));
}

TEST(Unfairness, DumbbellWitnessMakesOneOfTwoRolesPayTwoThirds) {
  // No tie is ever used: the highest number moving first changes nothing.
  const TreeMetric tree = test::dumbbell(4, 2);
  DoubleCoverageTree coverage(tree, {Point(10), Point(6)});
  DoubleCoverageTree mirrored(tree, {Point(6), Point(10)});
  constexpr int kLaps = 1000;
  for (int lap = 0; lap < kLaps; ++lap) {
    for (const int request : {15, 24, 16, 8, 11, 6}) {
      coverage.serve(Point(request));
      mirrored.serve(Point(request));
      ASSERT_EQ(coverage.costs()[0], mirrored.costs()[1]);
      ASSERT_EQ(coverage.costs()[1], mirrored.costs()[0]);
    }
  }
  ASSERT_GT(coverage.total(), kLaps);
  EXPECT_NEAR(static_cast<double>(coverage.costs()[0]) / static_cast<double>(coverage.total()), 2.0 / 3,
              1e-3);
}

TEST(Unfairness, DumbbellsWithoutTiesApproachThreeQuarters) {
  // (3L + 4) / (4L + 8)
  for (const int length : {1, 2, 4, 8, 12}) {
    expect_worst_share(test::dumbbell(length, 2), 2, Ties::kNever, 3 * length + 4, 4 * length + 8);
  }
}

TEST(Unfairness, ADumbbellOfThreeArmsIsUnfairToThreeRoles) {
  // A fair share would be 1/3.
  expect_worst_share(test::dumbbell(2, 3), 3, Ties::kNever, 4, 9);
  expect_worst_share(test::dumbbell(3, 3), 3, Ties::kNever, 7, 15);
}

TEST(Unfairness, PathsAndStarsWithoutTiesAreFair) {
  expect_worst_share(test::path(9), 2, Ties::kNever, 1, 2);
  expect_worst_share(test::path(8), 3, Ties::kNever, 1, 3);
  expect_worst_share(test::star(3, 3), 2, Ties::kNever, 1, 2);
  expect_worst_share(test::star(4, 2), 3, Ties::kNever, 1, 3);
}

TEST(Unfairness, WithTiesTheShareOfTheIdentityIsReachedOnEveryTreeWithRoom) {
  // (k+1) / (2k): 3/4, 2/3, 5/8.
  expect_worst_share(test::path(5), 2, Ties::kLowestNumber, 3, 4);
  expect_worst_share(test::star(3, 2), 2, Ties::kLowestNumber, 3, 4);
  expect_worst_share(test::dumbbell(1, 2), 2, Ties::kLowestNumber, 3, 4);
  expect_worst_share(test::path(7), 3, Ties::kLowestNumber, 2, 3);
  expect_worst_share(test::path(7), 4, Ties::kLowestNumber, 5, 8);
}

TEST(Unfairness, LabelsThatNeverCrossStayFairWhereTheLowestNumberDoesNot) {
  // The same requests on the same path; the tie rule alone decides. A lap: from one place the lowest number,
  // or the outer label, goes two steps out; a request between them brings both one step back together.
  const TreeMetric path = test::path(5);
  const LineMetric line = LineMetric::make({0, 1, 2, 3, 4}).value();
  DoubleCoverageTree lowest(path, {Point(2), Point(2)});
  DoubleCoverageLine ordered(line, {Point(2), Point(2)});
  for (int lap = 0; lap < 1000; ++lap) {
    for (const int request : {0, 1, 3, 2}) {
      lowest.serve(Point(request));
      ordered.serve(Point(request));
    }
  }
  EXPECT_EQ(4 * lowest.costs()[0], 3 * lowest.total());
  EXPECT_LE(std::abs(ordered.costs()[0] - ordered.costs()[1]), 2 * line.diameter());
  EXPECT_EQ(lowest.total(), ordered.total());
}

}  // namespace
}  // namespace tessera::kserver
