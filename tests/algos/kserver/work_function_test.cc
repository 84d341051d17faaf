// The work-function algorithm against the table of its definition.
#include "algos/kserver/work_function.h"

#include <limits>
#include <map>

#include <gtest/gtest.h>

#include "algos/kserver/optimum.h"
#include "tests/algos/kserver/instances.h"

namespace tessera::kserver {
namespace {

using test::Random;
using Configuration = std::vector<Point>;  // sorted

void each_configuration(int points, std::size_t k, Configuration& so_far, std::vector<Configuration>& all) {
  if (so_far.size() == k) {
    all.push_back(so_far);
    return;
  }
  for (int p = so_far.empty() ? 0 : so_far.back().value; p < points; ++p) {
    so_far.emplace_back(p);
    each_configuration(points, k, so_far, all);
    so_far.pop_back();
  }
}

/// Cheapest way of moving one configuration to another: all pairings.
Distance matching(const Metric& metric, const Configuration& from, Configuration to) {
  std::sort(to.begin(), to.end());
  Distance best = std::numeric_limits<Distance>::max();
  do {
    Distance cost = 0;
    for (std::size_t i = 0; i < from.size(); ++i) cost += metric.distance(from[i], to[i]);
    best = std::min(best, cost);
  } while (std::next_permutation(to.begin(), to.end()));
  return best;
}

/// w_t as a table over all configurations.
class Table {
 public:
  Table(const Metric& metric, Configuration start) : metric_(metric) {
    std::sort(start.begin(), start.end());
    std::vector<Configuration> all;
    Configuration so_far;
    each_configuration(metric.points(), start.size(), so_far, all);
    for (const Configuration& c : all) work_[c] = matching(metric, start, c);
  }
  void serve(Point request) {
    std::map<Configuration, Distance> next;
    for (const auto& [c, unused] : work_) {
      Distance best = std::numeric_limits<Distance>::max();
      for (std::size_t i = 0; i < c.size(); ++i) best = std::min(best, through(c, i, request));
      next[c] = best;
    }
    work_ = std::move(next);
  }
  /// w(C - C[i] + request) + d(C[i], request)
  [[nodiscard]] Distance through(const Configuration& c, std::size_t i, Point request) const {
    Configuration other = c;
    other[i] = request;
    return at(other) + metric_.distance(c[i], request);
  }
  [[nodiscard]] Distance at(Configuration c) const {
    std::sort(c.begin(), c.end());
    return work_.at(c);
  }

 private:
  const Metric& metric_;
  std::map<Configuration, Distance> work_;
};

TEST(WorkFunction, MovesAsItsDefinitionSays) {
  Random random(31);
  for (int round = 0; round < 120; ++round) {
    const auto metric = test::random_metric(random, round % 4, static_cast<int>(test::between(random, 1, 6)));
    const int k = static_cast<int>(test::between(random, 1, 4));
    const Instance instance = test::random_instance(random, *metric, k, 40);
    WorkFunction algorithm(*metric, instance.servers);
    Table table(*metric, instance.servers);
    for (const Point request : instance.requests) {
      Configuration before;
      for (int i = 0; i < k; ++i) before.push_back(algorithm.at(Role(i)));
      const auto moved = static_cast<std::size_t>(algorithm.serve(request).value);
      const Distance chosen = table.through(before, moved, request);
      for (std::size_t i = 0; i < before.size(); ++i) ASSERT_LE(chosen, table.through(before, i, request));
      table.serve(request);
      Configuration after = before;
      after[moved] = request;
      ASSERT_EQ(algorithm.at(Role(static_cast<std::int32_t>(moved))), request);
      ASSERT_EQ(algorithm.work(), table.at(after));
    }
  }
}

TEST(WorkFunction, TheOptimumIsALowerBoundOfTheWork) {
  Random random(32);
  const auto metric = test::random_metric(random, 3, 30);
  const Instance instance = test::random_instance(random, *metric, 5, 300);
  WorkFunction algorithm(*metric, instance.servers);
  for (const Point request : instance.requests) algorithm.serve(request);
  const Distance best = optimum(*metric, instance)->cost;
  EXPECT_GE(algorithm.work(), best);                                 // it must also end where the roles stand
  EXPECT_LE(algorithm.work(), best + 5 * metric->diameter());        // which costs a diameter each at most
  EXPECT_LE(algorithm.total(), 9 * best + 25 * metric->diameter());  // (2k - 1)-competitive
}

}  // namespace
}  // namespace tessera::kserver
