// The optimum, in both forms, against all schedules: a table over the configurations of the servers.
#include "algos/kserver/optimum.h"

#include <map>

#include <gtest/gtest.h>

#include "tests/algos/kserver/instances.h"

namespace tessera::kserver {
namespace {

using test::Random;

/// The cheapest cost by dynamic programming over sorted configurations; any server may go to a request, also
/// when another stands there.
Distance by_configurations(const Metric& metric, const Instance& instance) {
  std::vector<Point> start = instance.servers;
  std::sort(start.begin(), start.end());
  std::map<std::vector<Point>, Distance> costs = {{start, 0}};
  for (const Point request : instance.requests) {
    std::map<std::vector<Point>, Distance> next;
    for (const auto& [places, cost] : costs) {
      for (std::size_t i = 0; i < places.size(); ++i) {
        std::vector<Point> moved = places;
        moved[i] = request;
        std::sort(moved.begin(), moved.end());
        const Distance total = cost + metric.distance(places[i], request);
        const auto [entry, fresh] = next.emplace(moved, total);
        if (!fresh) entry->second = std::min(entry->second, total);
      }
    }
    costs = std::move(next);
  }
  Distance best = costs.begin()->second;
  for (const auto& [places, cost] : costs) best = std::min(best, cost);
  return best;
}

void expect_optimal(const Metric& metric, const Instance& instance, Distance expected) {
  for (const Form form : {Form::kDense, Form::kTimeExpanded, Form::kAuto}) {
    const auto found = optimum(metric, instance, form);
    ASSERT_TRUE(found.ok()) << found.status().message();
    ASSERT_TRUE(check_schedule(instance, found->schedule).ok());
    EXPECT_EQ(found->cost, expected);
    EXPECT_EQ(sum(server_costs(metric, instance, found->schedule)), found->cost);
    EXPECT_NE(found->form, Form::kAuto);
  }
}

TEST(Optimum, EqualsBruteForceIn3000Cases) {
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    const int n = static_cast<int>(test::between(random, 1, 7));
    const auto metric = test::random_metric(random, round % 4, n);
    const int k = static_cast<int>(test::between(random, 1, 4));
    const int requests = static_cast<int>(test::between(random, 0, 14));
    const Instance instance = test::random_instance(random, *metric, k, requests);
    expect_optimal(*metric, instance, by_configurations(*metric, instance));
    if (HasFailure()) FAIL() << "round " << round;
  }
}

TEST(Optimum, TheFormsAgreeOnLongSequences) {
  Random random(8);
  for (int round = 0; round < 24; ++round) {
    const auto metric = test::random_metric(random, round % 4, round % 3 == 0 ? 8 : 150);
    const Instance instance = test::random_instance(random, *metric, 1 + round % 9, 300);
    const Distance dense = optimum(*metric, instance, Form::kDense)->cost;
    EXPECT_EQ(optimum(*metric, instance, Form::kTimeExpanded)->cost, dense);
  }
}

TEST(Optimum, AutoChoosesBySize) {
  Random random(9);
  const LineMetric few = test::random_line(random, 10);
  EXPECT_EQ(optimum(few, test::random_instance(random, few, 3, 400))->form, Form::kTimeExpanded);
  const LineMetric many = test::random_line(random, 400);
  EXPECT_EQ(optimum(many, test::random_instance(random, many, 3, 400))->form, Form::kDense);
}

TEST(Optimum, MoreServersNeverCostMore) {
  Random random(10);
  const auto metric = test::random_metric(random, 3, 12);
  Instance instance = test::random_instance(random, *metric, 1, 120);
  Distance last = optimum(*metric, instance)->cost;
  for (int k = 2; k <= 12; ++k) {
    instance.servers.emplace_back(static_cast<std::int32_t>(test::between(random, 0, 11)));
    const Distance cost = optimum(*metric, instance)->cost;
    EXPECT_LE(cost, last);
    last = cost;
  }
}

TEST(Optimum, BorderCases) {
  const LineMetric line = LineMetric::make({0, 1, 10}).value();
  expect_optimal(line, {test::points({0, 2}), test::points({1, 2, 1})}, 1);      // the header's example
  expect_optimal(line, {test::points({0}), {}}, 0);                              // no requests
  expect_optimal(line, {test::points({0, 0, 0}), test::points({2, 2, 1})}, 11);  // one shared start
  expect_optimal(line, {test::points({1, 2, 0, 1, 1}), test::points({0, 1, 2})},
                 0);  // more servers than work
  expect_optimal(UniformMetric::make(3, 0).value(), {test::points({0}), test::points({1, 2})}, 0);
  const LineMetric wide = LineMetric::make({0, kMaxDistance}).value();
  expect_optimal(wide, {test::points({0}), test::points({1, 0, 1})}, 3 * kMaxDistance);
}

TEST(Optimum, MistakesAreNamed) {
  const LineMetric line = LineMetric::make({0, kMaxDistance}).value();
  const auto message = [&](const Instance& instance) { return optimum(line, instance).status().message(); };
  EXPECT_NE(message({{}, test::points({0})}).find("servers"), std::string::npos);
  EXPECT_NE(message({test::points({2}), {}}).find("servers[0]"), std::string::npos);
  EXPECT_NE(message({test::points({0}), test::points({0, -1})}).find("requests[1]"), std::string::npos);
  const std::vector<Point> many(std::size_t{1} << 12, Point(0));
  EXPECT_NE(message({many, many}).find("2^61"), std::string::npos);
}

}  // namespace
}  // namespace tessera::kserver
