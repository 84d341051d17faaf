/// Splits items at the break item: those more efficient fill the capacity until one does not fit.
///
/// With scaled profit q_i = profit_scale * profit_i - count_price the items are rearranged so that
///   [0, taken)      q > 0, efficiency q / weight at least the break item's, sum of weights <= capacity
///   [taken, size)   efficiency at most the break item's, or q <= 0
/// price is the break item's efficiency, or 0 when all items with q > 0 fit. Then
///   q([0, taken)) + floor(slack * price) >= q(S)   for each selection S within the capacity.
/// By weighted median, without a sort: O(n) expected.
///
/// Requires       weight > 0; sums of |q| and of weights below 2^62.
/// Source         Balas & Zemel 1980; Dantzig 1957 for the bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "algos/knapsack/ratio.h"

namespace tessera::knapsack {

struct Entry {
  std::int64_t profit = 0;
  std::int64_t weight = 0;
  std::uint32_t item = 0;  // position in the caller's list
};

struct BreakSolution {
  std::size_t taken = 0;
  std::int64_t profit = 0;
  std::int64_t slack = 0;
  Ratio price;
};

/// Of a split with scale 1 and no count price: no selection has more profit.
[[nodiscard]] inline std::int64_t upper_bound(const BreakSolution& split) {
  return split.profit + static_cast<std::int64_t>(Int128{split.slack} * split.price.num / split.price.den);
}

BreakSolution split_at_break(std::span<Entry> entries, std::int64_t capacity, std::int64_t profit_scale = 1,
                             std::int64_t count_price = 0);

}  // namespace tessera::knapsack
