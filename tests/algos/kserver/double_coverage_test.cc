// Double Coverage: the identities of both headers, exact over 100,000 requests, a step-by-step simulation,
// and the competitive ratio against the optimum.
#include <gtest/gtest.h>

#include "algos/kserver/double_coverage_line.h"
#include "algos/kserver/double_coverage_tree.h"
#include "algos/kserver/optimum.h"
#include "tests/algos/kserver/instances.h"

namespace tessera::kserver {
namespace {

using test::Random;

std::size_t index_of(Role role) { return static_cast<std::size_t>(role.value); }

TEST(DoubleCoverageLine, IdentityHoldsExactlyOver100000Requests) {
  Random random(21);
  for (const int k : {1, 2, 3, 8, 25}) {
    const LineMetric line = test::random_line(random, 60, 1000);
    const Instance starts = test::random_instance(random, line, k, 0);
    DoubleCoverageLine coverage(line, starts.servers);
    std::vector<Distance> start;
    for (const Role role : coverage.left_to_right()) start.push_back(coverage.position(role));
    const std::vector<Role> order(coverage.left_to_right().begin(), coverage.left_to_right().end());
    for (int t = 0; t < 100000; ++t) {
      // Long stretches of few points make costs grow apart; then others.
      const auto point = static_cast<std::int32_t>(
          (t / 500) % 2 == 0 ? t / 500 % 50 + test::between(random, 0, 3) : test::between(random, 0, 59));
      const Role serving = coverage.serve(Point(point));
      ASSERT_EQ(coverage.position(serving), line.position(Point(point)));
      for (std::size_t i = 0; i + 1 < order.size(); ++i) {
        const Distance here = coverage.position(order[i]);
        const Distance next = coverage.position(order[i + 1]);
        ASSERT_LE(here, next);
        const Distance difference =
            coverage.costs()[index_of(order[i + 1])] - coverage.costs()[index_of(order[i])];
        ASSERT_EQ(difference, here - start[i] + next - start[i + 1]) << "request " << t << " label " << i;
      }
      const auto [low, high] = std::minmax_element(coverage.costs().begin(), coverage.costs().end());
      ASSERT_LE(*high - *low, 2 * (k - 1) * line.diameter());
    }
    EXPECT_EQ(sum(coverage.costs()), coverage.total());
  }
}

TEST(DoubleCoverageTree, PairSumIdentityHoldsExactlyOver100000Requests) {
  Random random(22);
  for (const int k : {1, 2, 3, 5, 8}) {
    const TreeMetric tree = test::random_tree(random, 40, 30, k == 5 ? 1 : 1000);
    DoubleCoverageTree coverage(tree, test::random_instance(random, tree, k, 0).servers);
    const Distance start = coverage.pair_sum();
    for (int t = 0; t < 100000; ++t) {
      const Point request(static_cast<std::int32_t>(test::between(random, 0, (t / 100) % 2 == 0 ? 39 : 6)));
      const Role serving = coverage.serve(request);
      ASSERT_EQ(tree.distance(coverage.place_of(serving), TreePlace{request, 0}), 0);
      ASSERT_EQ(2 * k * coverage.time(), (k + 1) * coverage.total() + coverage.pair_sum() - start) << t;
      // c_i <= (k+1)/2 * total/k + (k-1)/4 * diameter, times 4k.
      for (const Distance cost : coverage.costs()) {
        ASSERT_LE(cost, coverage.time());
        ASSERT_LE(4 * k * cost, 2 * (k + 1) * coverage.total() + k * (k - 1) * tree.diameter());
      }
    }
    EXPECT_GT(coverage.total(), 0);
  }
}

/// Double Coverage on a tree whose edges all have length 1, one unit of time after the other.
class StepByStep {
 public:
  StepByStep(const TreeMetric& tree, std::vector<Point> starts)
      : tree_(tree), at_(std::move(starts)), costs_(at_.size(), 0) {}
  void serve(Point request) {
    while (std::find(at_.begin(), at_.end(), request) == at_.end()) {
      std::vector<Point> next = at_;
      for (std::size_t a = 0; a < at_.size(); ++a) {
        if (blocked(a, request)) continue;
        next[a] = neighbour_toward(at_[a], request);
        ++costs_[a];
      }
      at_ = std::move(next);
    }
  }
  [[nodiscard]] const std::vector<Point>& at() const { return at_; }
  [[nodiscard]] const std::vector<Distance>& costs() const { return costs_; }

 private:
  [[nodiscard]] bool blocked(std::size_t a, Point request) const {
    for (std::size_t b = 0; b < at_.size(); ++b) {
      if (b == a || (at_[a] == at_[b] && a < b)) continue;
      const bool on_path =
          tree_.distance(at_[a], at_[b]) + tree_.distance(at_[b], request) == tree_.distance(at_[a], request);
      if (on_path) return true;
    }
    return false;
  }
  [[nodiscard]] Point neighbour_toward(Point from, Point to) const {
    for (int p = 0; p < tree_.points(); ++p) {
      if (tree_.distance(from, Point(p)) == 1 && tree_.distance(Point(p), to) < tree_.distance(from, to)) {
        return Point(p);
      }
    }
    return from;
  }
  const TreeMetric& tree_;
  std::vector<Point> at_;
  std::vector<Distance> costs_;
};

TEST(DoubleCoverageTree, EqualsAStepByStepSimulation) {
  Random random(23);
  for (int round = 0; round < 60; ++round) {
    const int n = 3 + round % 20;
    std::vector<TreeEdge> edges;
    for (int i = 1; i < n; ++i) {
      const auto first = round % 3 == 0 ? std::max(0, i - 3) : 0;
      edges.push_back({Point(static_cast<std::int32_t>(test::between(random, first, i - 1))), Point(i), 1});
    }
    const TreeMetric tree = TreeMetric::make(edges).value();
    const Instance instance = test::random_instance(random, tree, 1 + round % 6, 80);
    DoubleCoverageTree coverage(tree, instance.servers);
    StepByStep oracle(tree, instance.servers);
    for (const Point request : instance.requests) {
      coverage.serve(request);
      oracle.serve(request);
      for (std::size_t i = 0; i < oracle.at().size(); ++i) {
        ASSERT_EQ(coverage.place_of(Role(static_cast<std::int32_t>(i))), (TreePlace{oracle.at()[i], 0}));
        ASSERT_EQ(coverage.costs()[i], oracle.costs()[i]);
      }
    }
  }
}

TEST(DoubleCoverage, LineAndPathTakeTheSamePlaces) {
  // Ties are broken differently, so roles may differ; places and totals may not.
  Random random(24);
  for (int round = 0; round < 20; ++round) {
    std::vector<Distance> positions = {0};
    std::vector<TreeEdge> edges;
    for (int i = 1; i < 15; ++i) {
      edges.push_back({Point(i - 1), Point(i), test::between(random, 0, 12)});
      positions.push_back(positions.back() + edges.back().length);
    }
    const LineMetric line = LineMetric::make(positions).value();
    const TreeMetric path = TreeMetric::make(edges).value();
    const Instance instance = test::random_instance(random, line, 1 + round % 6, 300);
    DoubleCoverageLine on_line(line, instance.servers);
    DoubleCoverageTree on_path(path, instance.servers);
    for (const Point request : instance.requests) {
      on_line.serve(request);
      on_path.serve(request);
      ASSERT_EQ(on_line.total(), on_path.total());
      std::vector<Distance> of_line, of_path;
      for (std::size_t i = 0; i < on_line.roles(); ++i) {
        const Role role(static_cast<std::int32_t>(i));
        of_line.push_back(on_line.position(role));
        of_path.push_back(path.distance(on_path.place_of(role), TreePlace{Point(0), 0}));
      }
      std::sort(of_line.begin(), of_line.end());
      std::sort(of_path.begin(), of_path.end());
      ASSERT_EQ(of_line, of_path);
    }
  }
}

TEST(DoubleCoverage, CostsAtMostKTimesTheOptimum) {
  // Potential k * (matching to the optimum's servers) + pair sum, which is the pair sum at the start.
  Random random(25);
  for (int round = 0; round < 60; ++round) {
    const int k = 1 + round % 5;
    const TreeMetric tree = test::random_tree(random, 15, 20, round % 2 == 0 ? 1 : 1000);
    Instance instance = test::random_instance(random, tree, k, 250);
    if (round % 3 == 0) {  // few points, where the algorithm does badly
      for (Point& p : instance.requests) p = Point(p.value % (k + 1));
    }
    DoubleCoverageTree coverage(tree, instance.servers);
    const Distance pair_sum = coverage.pair_sum();
    for (const Point request : instance.requests) coverage.serve(request);
    EXPECT_LE(coverage.total(), k * optimum(tree, instance)->cost + pair_sum);
  }
}

}  // namespace
}  // namespace tessera::kserver
