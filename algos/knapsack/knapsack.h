/// 0/1 knapsack over 64-bit integers: the most profit within a capacity, with a certificate.
///
///   maximise sum_{i in S} profit_i   subject to   sum_{i in S} weight_i <= capacity
///
/// solve          core dynamic program (core_dp.h). No selection has more than its upper_bound, so
///                profit == upper_bound proves the optimum; where a limit ends the search the gap is
///                certified.
/// greedy         by falling profit per weight, whatever still fits; or the one richest item if that is more,
///                hence at least half the optimum.
/// dantzig_bound  floor of the optimum with one item cut: no selection has more.
///
/// Exact          every product in 128 bits; no floating point decides anything.
/// Limits         0 <= profit, weight, capacity; n < 2^31. The profits of the items that fit alone sum to
/// less
///                than 2^62, and so do their weights.
/// Errors         kInvalidArgument names the item and the field that breaks a limit. An empty list, a zero
///                capacity and items without weight are answered, not refused.
/// Cost           greedy O(n log n), dantzig_bound O(n). solve: O(n) to find the core, then O(states) for
/// each
///                core item, at most Limits::max_work in all.
/// Source         Balas & Zemel 1980 (core), Pisinger 1997 (minknap), Martello, Pisinger & Toth 1999
///                (cardinality bounds); thinning as in arXiv:2512.21195. Oracle: all subsets, and the table
///                over all weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/status.h"

namespace tessera::knapsack {

struct Item {
  std::int64_t profit = 0;
  std::int64_t weight = 0;
};

struct Selection {
  std::vector<std::uint32_t> items;  // rising positions in the input
  std::int64_t profit = 0;
  std::int64_t weight = 0;
  std::int64_t upper_bound = 0;  // no selection within the capacity has more profit

  [[nodiscard]] bool proven() const { return profit == upper_bound; }
};

struct Limits {
  std::int64_t max_states = 1 << 16;  // kept after each core item; more are thinned
  std::int64_t max_work = 1 << 26;    // states made in all: about half a second
};

Result<Selection> greedy(std::span<const Item> items, std::int64_t capacity);
Result<std::int64_t> dantzig_bound(std::span<const Item> items, std::int64_t capacity);
Result<Selection> solve(std::span<const Item> items, std::int64_t capacity, const Limits& limits = {});

}  // namespace tessera::knapsack
