// Greedy, FIFO, Lazy and make_online: what each promises, on random and on hostile sequences.
#include <gtest/gtest.h>

#include "algos/kserver/double_coverage_tree.h"
#include "algos/kserver/fifo.h"
#include "algos/kserver/optimum.h"
#include "tests/algos/kserver/instances.h"

namespace tessera::kserver {
namespace {

using test::Random;

TEST(Online, EachAlgorithmServesEachRequestAndCountsItsCosts) {
  Random random(41);
  for (int round = 0; round < 80; ++round) {
    const auto metric = test::random_metric(random, round % 4, 1 + round % 13);
    const Instance instance = test::random_instance(random, *metric, 1 + round % 5, 60);
    for (const Algorithm algorithm :
         {Algorithm::kDoubleCoverage, Algorithm::kWorkFunction, Algorithm::kGreedy, Algorithm::kFifo}) {
      auto made = make_online(algorithm, *metric, instance.servers);
      if (!made.ok()) continue;
      // Lazy stands on points, so it shows whether the role that is named has arrived.
      Lazy lazy(*metric, instance.servers, std::move(made).value());
      const Distance best = optimum(*metric, instance)->cost;
      for (const Point request : instance.requests) {
        const Distance before = lazy.total();
        const Role role = lazy.serve(request);
        ASSERT_EQ(lazy.at(role), request);
        Distance paid = 0;
        for (const Payment& payment : lazy.last_payments()) paid += payment.distance;
        ASSERT_EQ(lazy.total() - before, paid);
      }
      ASSERT_EQ(sum(lazy.costs()), lazy.total());
      ASSERT_GE(lazy.total(), best) << algorithm_name(algorithm);
    }
  }
}

TEST(Lazy, NoRoleEverPaysMoreThanTheEagerOne) {
  Random random(42);
  for (int round = 0; round < 20; ++round) {
    const TreeMetric tree = test::random_tree(random, 30, 15);
    const Instance instance = test::random_instance(random, tree, 1 + round % 6, 400);
    auto owned = std::make_unique<DoubleCoverageTree>(tree, instance.servers);
    const DoubleCoverageTree& eager = *owned;
    Lazy lazy(tree, instance.servers, std::move(owned));
    for (const Point request : instance.requests) {
      lazy.serve(request);
      for (std::size_t i = 0; i < lazy.roles(); ++i) ASSERT_LE(lazy.costs()[i], eager.costs()[i]);
    }
  }
}

TEST(Greedy, GoesFromTheNearestAndTheLowestNumberAmongEquals) {
  const LineMetric line = LineMetric::make({0, 4, 8, 9}).value();
  Greedy greedy(line, test::points({0, 2, 2}));
  EXPECT_EQ(greedy.serve(Point(1)), Role(0));  // 4 to each
  EXPECT_EQ(greedy.serve(Point(3)), Role(1));
  EXPECT_EQ(greedy.serve(Point(2)), Role(2));  // stands there
  EXPECT_EQ(greedy.total(), 5);
}

TEST(Greedy, IsUnfairAndUnboundedOnTwoNearPoints) {
  // Why it has no ratio: it goes back and forth for ever, the optimum brings the other server once.
  const LineMetric line = LineMetric::make({0, 1, 100}).value();
  Greedy greedy(line, test::points({0, 2}));
  Instance instance{test::points({0, 2}), {}};
  for (int t = 0; t < 2000; ++t) {
    instance.requests.emplace_back(1 - t % 2);
    greedy.serve(instance.requests.back());
  }
  EXPECT_EQ(greedy.costs()[0], 2000);
  EXPECT_EQ(greedy.costs()[1], 0);
  EXPECT_EQ(optimum(line, instance)->cost, 99);
}

TEST(Fifo, CostsDifferByAtMostOneMoveAndStayWithinKTimesTheOptimum) {
  Random random(43);
  for (const int k : {1, 2, 3, 7}) {
    const UniformMetric uniform = UniformMetric::make(k + 4, 3).value();
    Instance instance = test::random_instance(random, uniform, k, 0);
    Fifo fifo(uniform, instance.servers);
    for (int t = 0; t < 100000; ++t) {
      // Now random, now round and round over one point more than there are servers.
      const auto request = (t / 1000) % 2 == 0 ? test::between(random, 0, k + 3) : t % (k + 1);
      const Role role = fifo.serve(Point(static_cast<std::int32_t>(request)));
      ASSERT_EQ(fifo.at(role).value, request);
      const auto [low, high] = std::minmax_element(fifo.costs().begin(), fifo.costs().end());
      ASSERT_LE(*high - *low, 3);
      if (t < 1500) instance.requests.emplace_back(static_cast<std::int32_t>(request));
      if (t != 1499) continue;
      EXPECT_LE(fifo.total(), k * (optimum(uniform, instance)->cost + 3 * k));
    }
  }
}

TEST(Fifo, KeepsServersThatShareAStart) {
  const UniformMetric uniform = UniformMetric::make(3, 1).value();
  Fifo fifo(uniform, test::points({0, 0}));
  EXPECT_EQ(fifo.serve(Point(1)), Role(0));
  EXPECT_EQ(fifo.serve(Point(0)), Role(1));  // still there
  EXPECT_EQ(fifo.serve(Point(2)), Role(1));
  EXPECT_EQ(fifo.serve(Point(0)), Role(0));
  EXPECT_EQ(fifo.total(), 3);
}

TEST(MakeOnline, MistakesAreNamed) {
  Random random(44);
  const MatrixMetric matrix = test::random_matrix(random, 4);
  const auto message = [&](Algorithm algorithm, std::vector<Point> starts) {
    return make_online(algorithm, matrix, std::move(starts)).status().message();
  };
  EXPECT_NE(message(Algorithm::kDoubleCoverage, test::points({0})).find("line or a tree"), std::string::npos);
  EXPECT_NE(message(Algorithm::kFifo, test::points({0})).find("uniform"), std::string::npos);
  EXPECT_NE(message(Algorithm::kGreedy, {}).find("at least one"), std::string::npos);
  EXPECT_NE(message(Algorithm::kWorkFunction, test::points({4})).find("servers[0]"), std::string::npos);
}

TEST(OnlineDeathTest, RequestsOutsideTheMetricAreOurMistake) {
  const LineMetric line = LineMetric::make({0, 1}).value();
  Greedy greedy(line, test::points({0}));
  EXPECT_DEATH(greedy.serve(Point(2)), "points_");
}

}  // namespace
}  // namespace tessera::kserver
