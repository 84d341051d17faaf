/// The O(n log n) approximation of the 0/1 knapsack by a table of few bins, with its own error bound.
///
/// T = ceil(12 ln n) bins divide [0, capacity]. Bin floor(weight * T / capacity) keeps one selection, with
/// exact weight and profit. Items come by falling profit per weight; each may extend the selection of each
/// bin, and replaces the selection of the bin where it lands when that gains. The richest bin is the answer.
///
/// Certificate    upper_bound is the profit of the linear relaxation: the greedy prefix and a fraction of the
///                item that breaks it. (upper_bound - profit) / upper_bound is the largest possible error.
/// No guarantee   beyond that of greedy: where a bin is wider than the items (from about n = 1e4) the answer
///                follows the greedy prefix. solve() (knapsack.h) is exact and usually faster.
/// Exact          weights are added, never rounded: the selection fits. Integers: products in 128 bits.
/// Limits         integers: those of knapsack.h. Reals: finite, >= 0, finite sums; they are added as doubles,
/// so
///                the bound, and the comparison with the capacity, have a relative error of n * 1.2e-16.
/// Errors         kInvalidArgument names the item and the field. kResourceExhausted: no memory for the table.
/// Cost           O(n log n) time, n (ceil(12 ln n) + 1) bytes.
/// Source         arXiv:2512.21195 (XDP). Here each replacement stores its source bin, so that the selection
/// is
///                recovered exactly. Oracle: all subsets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/status.h"
#include "algos/knapsack/knapsack.h"

namespace tessera::knapsack {

struct RealItem {
  double profit = 0;
  double weight = 0;
};

struct RealSelection {
  std::vector<std::uint32_t> items;  // rising positions in the input
  double profit = 0;
  double weight = 0;
  double upper_bound = 0;
};

Result<Selection> xdp(std::span<const Item> items, std::int64_t capacity);
Result<RealSelection> xdp(std::span<const RealItem> items, double capacity);

}  // namespace tessera::knapsack
