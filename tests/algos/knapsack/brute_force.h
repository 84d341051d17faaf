/// Oracles: all subsets, all assignments, and the table over all capacities.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/multiple_choice.h"

namespace tessera::knapsack {

/// The most profit among all 2^n subsets.
inline std::int64_t best_subset(std::span<const Item> items, std::int64_t capacity) {
  if (items.empty()) return 0;
  const std::int64_t without = best_subset(items.subspan(1), capacity);
  if (items[0].weight > capacity) return without;
  return std::max(without, items[0].profit + best_subset(items.subspan(1), capacity - items[0].weight));
}

/// The most profit by the table f[w] over all capacities: n * capacity steps.
inline std::int64_t best_by_table(std::span<const Item> items, std::int64_t capacity) {
  std::vector<std::int64_t> f(static_cast<std::size_t>(capacity) + 1, 0);
  for (const Item& item : items) {
    for (std::int64_t w = capacity; w >= item.weight; --w) {
      f[w] = std::max(f[w], f[w - item.weight] + item.profit);
    }
  }
  return f.back();
}

/// The least cost among all assignments, or -1 when none is within the budget.
inline std::int64_t best_assignment(std::span<const std::vector<Choice>> layers, std::int64_t budget) {
  if (layers.empty()) return 0;
  std::int64_t best = -1;
  for (const Choice& choice : layers[0]) {
    if (choice.memory > budget) continue;
    const std::int64_t rest = best_assignment(layers.subspan(1), budget - choice.memory);
    if (rest >= 0 && (best < 0 || choice.cost + rest < best)) best = choice.cost + rest;
  }
  return best;
}

/// The least cost by the table over all budgets: choices * budget steps. -1 when none is within the budget.
inline std::int64_t best_assignment_by_table(std::span<const std::vector<Choice>> layers,
                                             std::int64_t budget) {
  std::vector<std::int64_t> cost(static_cast<std::size_t>(budget) + 1, 0);
  for (const auto& layer : layers) {
    std::vector<std::int64_t> next(cost.size(), -1);
    for (const Choice& choice : layer) {
      for (std::int64_t m = choice.memory; m <= budget; ++m) {
        const std::int64_t before = cost[m - choice.memory];
        if (before >= 0 && (next[m] < 0 || before + choice.cost < next[m])) next[m] = before + choice.cost;
      }
    }
    cost.swap(next);
  }
  return cost.back();
}

}  // namespace tessera::knapsack
