/// The bound that counts items: how many an improvement can hold, and what the best price per item is.
///
///   at most   K = the number of lightest items that fit
///   at least  k = the number of richest items whose profit exceeds the incumbent
///
/// Relaxing count <= K with a price m >= 0 per item, or count >= k with m <= 0, gives for selections S that
/// beat the incumbent
///
///   scale * profit(S) <= max over S within the capacity of sum (scale * profit_i - m) + m * limit
///
/// and the inner maximum is bounded by its break solution (break_solution.h). The right side is convex in m;
/// its slope is the limit less the break solution's count, so bisection finds the least. Where profit =
/// weight + constant this closes the gap that the Dantzig bound leaves.
///
/// Cost           O(n log(scale * largest profit)).
/// Source         Martello & Toth 1997; Martello, Pisinger & Toth 1999 (combo), there as a surrogate.
#pragma once

#include <cstdint>
#include <span>

#include "algos/knapsack/break_solution.h"

namespace tessera::knapsack {

struct CountPrice {
  std::int64_t scale = 1;
  std::int64_t price = 0;  // m; 0 is the Dantzig bound
  std::int64_t limit = 0;  // K for m > 0, k for m < 0
  std::int64_t bound = 0;  // on the profit of every selection that beats the incumbent
};

/// The least of the Dantzig bound and the two above; the first of those in a tie. Rearranges the entries.
CountPrice best_count_price(std::span<Entry> entries, std::int64_t capacity, std::int64_t incumbent);

}  // namespace tessera::knapsack
