/// Checks items and settles what needs no search, for the solvers of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/status.h"
#include "algos/knapsack/break_solution.h"
#include "algos/knapsack/knapsack.h"

namespace tessera::knapsack {

/// The sums that int64 arithmetic must hold stay below this.
inline constexpr std::int64_t kSumLimit = std::int64_t{1} << 62;

struct Prepared {
  std::vector<Entry> open;          // profit > 0, 0 < weight <= capacity
  std::vector<std::uint32_t> free;  // profit > 0, weight == 0: always taken
  std::int64_t free_profit = 0;
  std::int64_t open_profit = 0;
  std::int64_t open_weight = 0;
};

[[nodiscard]] Status check(const Limits& limits);
[[nodiscard]] Status check_count(std::size_t items);

Result<Prepared> prepare(std::span<const Item> items, std::int64_t capacity);

/// Divides a field of all entries by its greatest common divisor, which it returns (1 without entries).
std::int64_t divide_by_common(std::span<Entry> entries, std::int64_t Entry::*field);

/// The free items and `chosen` (positions in the input, any order), summed.
Selection make_selection(std::span<const Item> items, const Prepared& prepared,
                         std::vector<std::uint32_t> chosen);

}  // namespace tessera::knapsack
