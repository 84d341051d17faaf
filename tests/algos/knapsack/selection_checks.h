/// What each answer must satisfy, whichever solver gave it.
#pragma once

#include <cstdint>
#include <span>

#include <gtest/gtest.h>

#include "algos/knapsack/knapsack.h"

namespace tessera::knapsack {

/// The list rises, its sums are the reported ones, it fits, and the bound is not below it.
inline void expect_consistent(std::span<const Item> items, std::int64_t capacity,
                              const Selection& selection) {
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

}  // namespace tessera::knapsack
