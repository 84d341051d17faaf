#include "algos/knapsack/break_solution.h"

#include <algorithm>
#include <cstddef>

#include "algos/base/random.h"

namespace tessera::knapsack {

BreakSolution split_at_break(std::span<Entry> entries, std::int64_t capacity, std::int64_t profit_scale,
                             std::int64_t count_price) {
  const auto efficiency = [&](const Entry& e) {
    return Ratio{profit_scale * e.profit - count_price, e.weight};
  };
  BreakSolution split;
  split.slack = capacity;
  // [begin, end) holds the break item, if there is one. What is before fits; what is behind is no better.
  auto begin = entries.begin();
  auto end = std::partition(begin, entries.end(), [&](const Entry& e) { return efficiency(e).num > 0; });
  for (std::uint64_t draw = 0; begin != end && split.price.num == 0; ++draw) {
    const auto size = static_cast<std::uint64_t>(end - begin);
    const auto drawn = [&](std::uint64_t k) { return efficiency(begin[mix64(3 * draw + k) % size]); };
    Ratio low = drawn(0);
    Ratio pivot = drawn(1);
    const Ratio high = drawn(2);
    if (greater(low, pivot)) std::swap(low, pivot);
    if (greater(pivot, high)) pivot = greater(low, high) ? low : high;

    const auto equal =
        std::partition(begin, end, [&](const Entry& e) { return greater(efficiency(e), pivot); });
    std::int64_t weight = 0;
    for (auto e = begin; e != equal; ++e) weight += e->weight;
    if (weight > split.slack) {
      end = equal;
      continue;
    }
    const auto less =
        std::partition(equal, end, [&](const Entry& e) { return !greater(pivot, efficiency(e)); });
    for (begin = equal, split.slack -= weight; begin != less; ++begin) {
      if (begin->weight > split.slack) {
        split.price = pivot;
        break;
      }
      split.slack -= begin->weight;
    }
  }
  split.taken = static_cast<std::size_t>(begin - entries.begin());
  for (const Entry& e : entries.first(split.taken)) split.profit += e.profit;
  return split;
}

}  // namespace tessera::knapsack
