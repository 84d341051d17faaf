// xdp(): valid bounds, exact selections, the paper's error laws, and what density order is worth.
#include "algos/knapsack/xdp.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "tests/algos/knapsack/brute_force.h"
#include "tests/algos/knapsack/instances.h"
#include "tests/algos/knapsack/selection_checks.h"

namespace tessera::knapsack {
namespace {

void expect_consistent(std::span<const RealItem> items, double capacity, const RealSelection& selection) {
  double profit = 0;
  double weight = 0;
  for (std::size_t k = 0; k < selection.items.size(); ++k) {
    ASSERT_LT(selection.items[k], items.size());
    ASSERT_TRUE(k == 0 || selection.items[k - 1] < selection.items[k]);
    profit += items[selection.items[k]].profit;
    weight += items[selection.items[k]].weight;
  }
  EXPECT_EQ(profit, selection.profit);
  EXPECT_EQ(weight, selection.weight);
  // The table adds in another order: n additions, each off by half a unit in the last place of the sum.
  EXPECT_LE(weight, capacity * (1 + 1.2e-16 * static_cast<double>(items.size())));
  EXPECT_LE(selection.profit, selection.upper_bound);
}

struct Law {
  double mean_error = 0;
  double mean_size = 0;
};

/// The paper's random trials: profits and weights uniform in (0, 1).
Law random_trials(std::size_t n, double share, int trials) {
  std::mt19937_64 random(n);
  std::uniform_real_distribution<double> uniform(0, 1);
  Law law;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<RealItem> items(n);
    double total = 0;
    for (RealItem& item : items) {
      item = {uniform(random), uniform(random)};
      total += item.weight;
    }
    const auto selection = xdp(items, share * total);
    EXPECT_TRUE(selection.ok());
    expect_consistent(items, share * total, selection.value());
    law.mean_error += (selection->upper_bound - selection->profit) / selection->upper_bound / trials;
    law.mean_size += static_cast<double>(selection->items.size()) / trials;
  }
  return law;
}

TEST(Xdp, ErrorFallsAsPublished) {
  const Law thousand = random_trials(3000, 0.15, 20);
  EXPECT_GE(thousand.mean_size, 1000);
  EXPECT_LE(thousand.mean_size, 1100);
  EXPECT_LT(thousand.mean_error, 1e-4);
  const Law hundred_thousand = random_trials(300000, 0.15, 2);
  EXPECT_GE(hundred_thousand.mean_size, 100000);
  EXPECT_LE(hundred_thousand.mean_size, 110000);
  EXPECT_LT(hundred_thousand.mean_error, 1e-7);
}

TEST(Xdp, IntegersAgainstAllSubsets) {
  std::mt19937_64 random(6);
  int optimal = 0;
  int greedy_optimal = 0;
  const int runs = 20000;
  for (int run = 0; run < runs; ++run) {
    const Instance instance = small_instance(random);
    const auto selection = xdp(instance.items, instance.capacity);
    ASSERT_TRUE(selection.ok());
    knapsack::expect_consistent(instance.items, instance.capacity, selection.value());
    const std::int64_t best = best_subset(instance.items, instance.capacity);
    ASSERT_LE(selection->profit, best);
    ASSERT_GE(selection->upper_bound, best);
    optimal += selection->profit == best ? 1 : 0;
    greedy_optimal += greedy(instance.items, instance.capacity)->profit == best ? 1 : 0;
  }
  // Where bins are finer than the items the table finds what greedy misses.
  EXPECT_GT(optimal, runs * 9 / 10);
  EXPECT_GT(optimal, greedy_optimal + runs / 10);
}

TEST(Xdp, RealsAgreeWithIntegers) {
  // Doubles hold these integers and their sums exactly, so both forms must choose the same items. Borders
  // between bins are the only rounded quantity; a capacity that is a multiple of the bin count makes them
  // exact too.
  std::mt19937_64 random(7);
  for (int run = 0; run < 200; ++run) {
    const int n = 100;
    const int bins = 56;  // ceil(12 ln 100)
    std::vector<Item> items(n);
    std::vector<RealItem> reals(n);
    for (int i = 0; i < n; ++i) {
      items[i] = {1 + static_cast<std::int64_t>(random() % 1000),
                  1 + static_cast<std::int64_t>(random() % 1000)};
      reals[i] = {static_cast<double>(items[i].profit), static_cast<double>(items[i].weight)};
    }
    const std::int64_t capacity = bins * (100 + static_cast<std::int64_t>(random() % 500));
    const auto exact = xdp(items, capacity);
    const auto real = xdp(reals, static_cast<double>(capacity));
    ASSERT_EQ(exact->items, real->items) << run;
    EXPECT_EQ(static_cast<double>(exact->profit), real->profit);
    EXPECT_EQ(static_cast<double>(exact->upper_bound), std::floor(real->upper_bound + 1e-6));
  }
}

TEST(Xdp, SettlesWhatNeedsNoTable) {
  EXPECT_EQ(xdp(std::vector<Item>{}, 5)->profit, 0);
  EXPECT_EQ(xdp(std::vector<Item>{{3, 4}}, 5)->profit, 3);
  EXPECT_EQ(xdp(std::vector<Item>{{3, 6}, {2, 0}}, 5)->profit, 2);
  EXPECT_EQ(xdp(std::vector<RealItem>{}, 0.0)->profit, 0);
  EXPECT_EQ(xdp(std::vector<RealItem>{{0.5, 0.25}, {0.125, 0}}, 0.0)->profit, 0.125);
  EXPECT_EQ(xdp(std::vector<RealItem>{{0.5, 0.25}, {0.125, 0.5}}, 0.75)->profit, 0.625);
  // Ratios that overflow or vanish still sort and bound.
  const auto extreme = xdp(std::vector<RealItem>{{1e300, 1e-300}, {1e-300, 1e300}}, 1e300);
  EXPECT_EQ(extreme->profit, 1e300);
  EXPECT_GE(extreme->upper_bound, extreme->profit);
}

TEST(Xdp, SaysWhatIsWrong) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto message = [](const std::vector<RealItem>& items, double capacity) {
    const auto selection = xdp(items, capacity);
    EXPECT_EQ(selection.status().code(), Code::kInvalidArgument);
    return selection.status().message();
  };
  EXPECT_NE(message({{1, 1}}, nan).find("capacity"), std::string::npos);
  EXPECT_NE(message({{1, 1}}, -0.5).find("capacity"), std::string::npos);
  EXPECT_NE(message({{1, 1}}, infinity).find("capacity"), std::string::npos);
  EXPECT_NE(message({{1, 1}, {nan, 1}}, 1).find("items[1].profit"), std::string::npos);
  EXPECT_NE(message({{1, nan}}, 1).find("items[0].weight"), std::string::npos);
  EXPECT_NE(message({{-1, 1}}, 1).find("items[0].profit"), std::string::npos);
  EXPECT_NE(message({{1, infinity}}, 1).find("items[0].weight"), std::string::npos);
  EXPECT_NE(message({{1e308, 1}, {1e308, 1}}, 1).find("items[1].profit"), std::string::npos);
  EXPECT_NE(xdp(std::vector<Item>{{1, -1}}, 1).status().message().find("items[0].weight"), std::string::npos);
}

}  // namespace
}  // namespace tessera::knapsack
