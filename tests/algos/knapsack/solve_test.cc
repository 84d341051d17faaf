// solve() against all subsets and the full table: the answer, its items, and above all its certificate.
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "algos/knapsack/knapsack.h"
#include "tests/algos/knapsack/brute_force.h"
#include "tests/algos/knapsack/instances.h"
#include "tests/algos/knapsack/selection_checks.h"

namespace tessera::knapsack {
namespace {

TEST(Solve, CertificateHoldsWhateverTheLimits) {
  std::mt19937_64 random(1);
  int unproven = 0;
  const int runs = 80000;
  for (int run = 0; run < runs; ++run) {
    const Instance instance = small_instance(random);
    Limits limits;
    limits.max_states = 1 + static_cast<std::int64_t>(random() % 16);
    if (run % 3 == 0) limits.max_work = 1 + static_cast<std::int64_t>(random() % 40);
    const auto selection = solve(instance.items, instance.capacity, limits);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    expect_consistent(instance.items, instance.capacity, selection.value());
    const std::int64_t best = best_subset(instance.items, instance.capacity);
    ASSERT_LE(selection->profit, best) << run;
    ASSERT_GE(selection->upper_bound, best) << run;
    ASSERT_GE(selection->profit, greedy(instance.items, instance.capacity)->profit) << run;
    unproven += selection->proven() ? 0 : 1;
    const auto exact = solve(instance.items, instance.capacity);
    ASSERT_TRUE(exact->proven()) << run;
    ASSERT_EQ(exact->profit, best) << run;
  }
  EXPECT_GT(unproven, runs / 200) << "limits this tight must leave some runs unproven";
}

TEST(Solve, EqualsTheTableInEveryFamily) {
  for (const NamedFamily& family : kFamilies) {
    if (family.family == Family::kSimilarWeights) continue;  // weights 100 times the range: no table
    for (int h = 1; h <= 3; ++h) {
      const Instance instance = pisinger(family.family, 200, 500, h, 3);
      const auto selection = solve(instance.items, instance.capacity);
      ASSERT_TRUE(selection.ok());
      expect_consistent(instance.items, instance.capacity, selection.value());
      EXPECT_EQ(selection->profit, best_by_table(instance.items, instance.capacity)) << family.name << h;
      EXPECT_TRUE(selection->proven()) << family.name << h;
    }
  }
}

TEST(Solve, ProvesTheHardFamilies) {
  // 13 families of 20 instances, n = 1000, R = 1000: at least 95 % proven, each certified within 1e-5.
  int proven = 0;
  int all = 0;
  for (const NamedFamily& family : kFamilies) {
    for (int h = 1; h <= 20; ++h) {
      const Instance instance = pisinger(family.family, 1000, 1000, h, 20);
      const auto selection = solve(instance.items, instance.capacity);
      ASSERT_TRUE(selection.ok());
      expect_consistent(instance.items, instance.capacity, selection.value());
      const auto gap = static_cast<double>(selection->upper_bound - selection->profit);
      EXPECT_LE(gap, 1e-5 * static_cast<double>(selection->upper_bound)) << family.name << h;
      proven += selection->proven() ? 1 : 0;
      ++all;
    }
  }
  EXPECT_GE(proven * 100, all * 95);
}

TEST(Solve, ProvesWhereOnlyTheCountBoundCloses) {
  // profit = weight + constant, large coefficients: the Dantzig bound is above every selection by more than
  // a thousandth of an item's profit, so equality with it cannot be the proof.
  for (const Family family : {Family::kStrongly, Family::kInverseStrongly}) {
    const Instance instance = pisinger(family, 1000, 100000, 2, 5);
    const auto selection = solve(instance.items, instance.capacity);
    EXPECT_TRUE(selection->proven());
    EXPECT_GT(dantzig_bound(instance.items, instance.capacity).value(), selection->profit + 100);
  }
}

TEST(Solve, CertifiesAMillionItems) {
  for (const Family family : {Family::kUncorrelated, Family::kStrongly}) {
    const Instance instance = pisinger(family, 1000000, 1000, 1, 1);
    const auto selection = solve(instance.items, instance.capacity);
    expect_consistent(instance.items, instance.capacity, selection.value());
    const auto gap = static_cast<double>(selection->upper_bound - selection->profit);
    EXPECT_LE(gap, 1e-6 * static_cast<double>(selection->upper_bound));
  }
}

TEST(Solve, IsExactNearTheLimitsOfTheType) {
  // The small problem scaled so that its sums come close to 2^62: products need 128 bits, doubles would err.
  std::mt19937_64 random(4);
  for (int run = 0; run < 2000; ++run) {
    Instance small = small_instance(random);
    std::int64_t most = 1;
    for (const Item& item : small.items) most += item.profit + item.weight;
    const std::int64_t unit = ((std::int64_t{1} << 62) - 1) / most;
    Instance large = small;
    for (Item& item : large.items) {
      // One less than a multiple keeps the divisors apart; 13 items lose less than one unit together.
      item.profit = item.profit == 0 ? 0 : item.profit * unit - 1;
      item.weight = item.weight == 0 ? 0 : item.weight * unit - 1;
    }
    large.capacity = small.capacity * unit;
    const auto selection = solve(large.items, large.capacity);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    expect_consistent(large.items, large.capacity, selection.value());
    ASSERT_TRUE(selection->proven());
    ASSERT_EQ(selection->profit, best_subset(large.items, large.capacity)) << run;
  }
}

TEST(Solve, SettlesWhatNeedsNoSearch) {
  const auto profit = [](const std::vector<Item>& items, std::int64_t capacity) {
    const auto selection = solve(items, capacity);
    EXPECT_TRUE(selection.ok()) << selection.status().message();
    EXPECT_TRUE(selection->proven());
    return selection->profit;
  };
  EXPECT_EQ(profit({}, 0), 0);
  EXPECT_EQ(profit({}, 10), 0);
  EXPECT_EQ(profit({{5, 3}, {7, 0}, {1, 0}}, 0), 8);
  EXPECT_EQ(profit({{5, 3}, {7, 11}}, 10), 5);
  EXPECT_EQ(profit({{5, 3}, {7, 4}}, 7), 12);
  EXPECT_EQ(profit({{5, 3}, {7, 4}}, std::numeric_limits<std::int64_t>::max()), 12);
  EXPECT_EQ(profit({{0, 3}, {0, 0}}, 7), 0);
  EXPECT_EQ(profit({{1, std::numeric_limits<std::int64_t>::max()}}, 7), 0);
}

TEST(Solve, SaysWhatIsWrong) {
  const auto message = [](const std::vector<Item>& items, std::int64_t capacity) {
    const auto selection = solve(items, capacity);
    EXPECT_EQ(selection.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(greedy(items, capacity).status().message(), selection.status().message());
    EXPECT_EQ(dantzig_bound(items, capacity).status().message(), selection.status().message());
    return selection.status().message();
  };
  const std::int64_t half = std::int64_t{1} << 61;
  EXPECT_NE(message({{1, 1}}, -1).find("capacity"), std::string::npos);
  EXPECT_NE(message({{1, 1}, {-1, 1}}, 1).find("items[1].profit"), std::string::npos);
  EXPECT_NE(message({{1, -1}}, 1).find("items[0].weight"), std::string::npos);
  EXPECT_NE(message({{half, 1}, {half, 0}}, 5).find("items[1].profit"), std::string::npos);
  EXPECT_NE(message({{1, half}, {1, half}}, 2 * half).find("items[1].weight"), std::string::npos);
  Limits none;
  none.max_states = 0;
  EXPECT_NE(solve(std::vector<Item>{{1, 1}}, 1, none).status().message().find("max_states"),
            std::string::npos);
  none = {};
  none.max_work = -1;
  EXPECT_NE(solve(std::vector<Item>{{1, 1}}, 1, none).status().message().find("max_work"), std::string::npos);
}

TEST(Greedy, IsWithinHalfAndItsBoundHolds) {
  std::mt19937_64 random(5);
  for (int run = 0; run < 20000; ++run) {
    const Instance instance = small_instance(random);
    const auto selection = greedy(instance.items, instance.capacity);
    ASSERT_TRUE(selection.ok());
    expect_consistent(instance.items, instance.capacity, selection.value());
    const std::int64_t best = best_subset(instance.items, instance.capacity);
    ASSERT_LE(selection->profit, best);
    ASSERT_GE(2 * selection->profit, best);
    ASSERT_GE(selection->upper_bound, best);
    ASSERT_EQ(dantzig_bound(instance.items, instance.capacity).value(), selection->upper_bound);
  }
}

TEST(Greedy, BoundIsThatOfTheLinearRelaxation) {
  // 60/10, 100/20, 120/30 into 50: the first two, and two thirds of the third.
  EXPECT_EQ(dantzig_bound(std::vector<Item>{{60, 10}, {100, 20}, {120, 30}}, 50).value(), 240);
}

}  // namespace
}  // namespace tessera::knapsack
