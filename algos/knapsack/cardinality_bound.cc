#include "algos/knapsack/cardinality_bound.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {
namespace {

/// Most items with a sum of `size` within `room`.
template <class Size>
std::int64_t most_items(std::span<const Entry> entries, std::int64_t room, Size size) {
  std::vector<Entry> unit(entries.begin(), entries.end());
  for (Entry& e : unit) e = {1, size(e), e.item};
  return static_cast<std::int64_t>(split_at_break(unit, room).taken);
}

class Pricing {
 public:
  Pricing(std::span<Entry> entries, std::int64_t capacity, std::int64_t scale)
      : entries_(entries), capacity_(capacity), scale_(scale) {}

  CountPrice at(std::int64_t price, std::int64_t limit) {
    split_ = split_at_break(entries_, capacity_, scale_, price);
    const Int128 q = Int128{scale_} * split_.profit + Int128{price} * (limit - taken()) +
                     Int128{split_.slack} * split_.price.num / split_.price.den;
    return {scale_, price, limit, static_cast<std::int64_t>(floor_div(q, scale_))};
  }
  /// Of the last relaxation, with its cut item as a fraction.
  [[nodiscard]] bool has_more_than(std::int64_t count) const {
    return taken() > count || (taken() == count && split_.slack > 0 && split_.price.num > 0);
  }
  [[nodiscard]] bool has_less_than(std::int64_t count) const { return taken() < count; }

 private:
  [[nodiscard]] std::int64_t taken() const { return static_cast<std::int64_t>(split_.taken); }

  std::span<Entry> entries_;
  std::int64_t capacity_;
  std::int64_t scale_;
  BreakSolution split_;
};

}  // namespace

CountPrice best_count_price(std::span<Entry> entries, std::int64_t capacity, std::int64_t incumbent) {
  std::int64_t total = 0;
  std::int64_t richest = 0;
  for (const Entry& e : entries) {
    total += e.profit;
    richest = std::max(richest, e.profit);
  }
  const auto n = static_cast<std::int64_t>(entries.size());
  CountPrice best = Pricing(entries, capacity, 1).at(0, 0);
  // Scaled gains must sum below 2^62.
  std::int64_t scale = 64;
  while (scale > 1 && Int128{scale} * (Int128{total} + Int128{richest} * n) >= kSumLimit) scale /= 2;
  if (Int128{scale} * (Int128{total} + Int128{richest} * n) >= kSumLimit) return best;

  const std::int64_t most = most_items(entries, capacity, [](const Entry& e) { return e.weight; });
  const std::int64_t least =
      n - most_items(entries, total - incumbent - 1, [](const Entry& e) { return e.profit; });
  Pricing pricing(entries, capacity, scale);
  const auto consider = [&](std::int64_t price, std::int64_t limit) {
    const CountPrice candidate = pricing.at(price, limit);
    if (candidate.bound < best.bound) best = candidate;
  };
  // The count of the relaxation falls as the price rises.
  (void)pricing.at(0, 0);
  if (pricing.has_more_than(most)) {
    std::int64_t low = 0;                 // too many here
    std::int64_t high = scale * richest;  // none here
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (void)pricing.at(middle, most);
      (pricing.has_more_than(most) ? low : high) = middle;
    }
    consider(low, most);
    consider(high, most);
  } else if (pricing.has_less_than(least)) {
    std::int64_t low = -scale * richest;  // as many as fit here
    std::int64_t high = 0;                // too few here
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (void)pricing.at(middle, least);
      (pricing.has_less_than(least) ? high : low) = middle;
    }
    consider(low, least);
    consider(high, least);
  }
  return best;
}

}  // namespace tessera::knapsack
