// solve() against all subsets and the full table: the answer, its items, and above all its certificate.
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "algos/knapsack/knapsack.h"
#include "tests/algos/knapsack/brute_force.h"
#include "tests/algos/knapsack/instances.h"

namespace tessera::knapsack {
namespace {

void expect_consistent(const std::vector<Item>& items, std::int64_t capacity, const Selection& selection) {
  std::int64_t profit = 0;
  std::int64_t weight = 0;
  for (std::size_t k = 0; k < selection.items.size(); ++k) {
    ASSERT_LT(selection.items[k], items.size());
    ASSERT_TRUE(k == 0 || selection.items[k - 1] < selection.items[k]);
    profit += items[selection.items[k]].profit;
    weight += items[selection.items[k]].weight;
  }
  EXPECT_EQ(profit, selection.profit);
  EXPECT_EQ(weight, selection.weight);
  EXPECT_LE(weight, capacity);
  EXPECT_LE(selection.profit, selection.upper_bound);
}

Instance small_instance(std::mt19937_64& random) {
  Instance instance;
  const auto draw = [&](std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(0, most)(random);
  };
  const std::int64_t n = draw(13);
  const std::int64_t range = 1 + draw(40);
  const int shape = static_cast<int>(draw(3));
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t weight = draw(range);
    const std::int64_t profit = shape == 0 ? weight : shape == 1 ? weight + range / 4 : draw(range);
    instance.items.push_back({profit, weight});
    total += weight;
  }
  instance.capacity = draw(total + 1);
  return instance;
}

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

}  // namespace
}  // namespace tessera::knapsack
