#include "algos/knapsack/xdp.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {
namespace {

/// An item to decide: profit > 0, 0 < weight <= capacity.
template <class Number>
struct Open {
  Number profit;
  Number weight;
  std::uint32_t item;
};

template <class Number>
void sort_by_efficiency(std::vector<Open<Number>>& open) {
  struct Key {
    double efficiency;
    std::uint32_t at;
  };
  std::vector<Key> keys(open.size());
  for (std::uint32_t i = 0; i < open.size(); ++i) {
    keys[i] = {static_cast<double>(open[i].profit) / static_cast<double>(open[i].weight), i};
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    return a.efficiency != b.efficiency ? a.efficiency > b.efficiency : a.at < b.at;
  });
  std::vector<Open<Number>> sorted(open.size());
  for (std::size_t i = 0; i < open.size(); ++i) sorted[i] = open[keys[i].at];
  open.swap(sorted);
}

/// Bin k of 0..bins holds weights from border[k] to below border[k + 1]; the last one the capacity itself.
template <class Number>
std::vector<Number> bin_borders(Number capacity, int bins) {
  std::vector<Number> border(static_cast<std::size_t>(bins) + 2);
  for (int k = 0; k <= bins; ++k) {
    if constexpr (std::is_integral_v<Number>) {
      border[k] = static_cast<Number>((Int128{capacity} * k + bins - 1) / bins);
    } else {
      border[k] = k == bins ? capacity : capacity / bins * k;
    }
  }
  if constexpr (std::is_integral_v<Number>) {
    border.back() = capacity + 1;
  } else {
    border.back() = std::nextafter(capacity, std::numeric_limits<Number>::infinity());
  }
  return border;
}

/// The table of the paper over `open`, which is sorted by falling efficiency. Returns positions in the input.
template <class Number>
std::vector<std::uint32_t> choose(const std::vector<Open<Number>>& open, Number capacity) {
  constexpr std::uint8_t kUnchanged = 255;
  constexpr int kMostBins = 254;  // beside kUnchanged in a byte; reached at n = 1.5e9
  // The weight of a bin without a selection: with any item above the capacity.
  constexpr Number kEmpty =
      std::is_integral_v<Number> ? static_cast<Number>(kSumLimit) : std::numeric_limits<Number>::infinity();
  const std::size_t n = open.size();
  if (n == 0) return {};
  const int bins =
      std::clamp(static_cast<int>(std::ceil(12 * std::log(static_cast<double>(n)))), 1, kMostBins);
  const std::vector<Number> border = bin_borders(capacity, bins);
  const auto row = static_cast<std::size_t>(bins) + 1;
  const std::unique_ptr<std::uint8_t[]> sources(new std::uint8_t[n * row]);
  std::vector<Number> profit(row, 0);
  std::vector<Number> weight(row, kEmpty);
  weight[0] = 0;
  int top = 0;
  for (std::size_t i = 0; i < n; ++i) {
    std::uint8_t* const source = &sources[i * row];
    std::fill_n(source, row, kUnchanged);
    const Open<Number> item = open[i];
    // Falling, so that a bin still holds its selection without the item when it is extended.
    for (int j = top; j >= 0; --j) {
      const Number extended = weight[j] + item.weight;
      const Number value = profit[j] + item.profit;
      int k = j;
      if (extended >= border[j + 1]) {
        if (extended > capacity) continue;
        k = std::max(
            k, static_cast<int>(static_cast<double>(extended) / static_cast<double>(capacity) * bins) - 1);
        while (extended >= border[k + 1]) ++k;
        if (weight[k] != kEmpty && value <= profit[k]) continue;
        top = std::max(top, k);
      }
      profit[k] = value;
      weight[k] = extended;
      source[k] = static_cast<std::uint8_t>(j);
    }
  }
  auto bin = static_cast<std::size_t>(std::max_element(profit.begin(), profit.end()) - profit.begin());
  std::vector<std::uint32_t> chosen;
  for (std::size_t i = n; i-- > 0;) {
    const std::uint8_t source = sources[i * row + bin];
    if (source == kUnchanged) continue;
    chosen.push_back(open[i].item);
    bin = source;
  }
  return chosen;
}

Status no_memory(std::size_t n) {
  return bad_input({"knapsack", "items", std::to_string(n) + " items", "a table of 12 n ln n bytes in memory",
                    "use solve, which needs memory for the core only"},
                   Code::kResourceExhausted);
}

Status real_error(std::size_t i, const char* field, double found) {
  return bad_input({"knapsack", "items[" + std::to_string(i) + "]." + field, std::to_string(found),
                    "a finite number >= 0, and finite sums", "correct the item"});
}

}  // namespace

Result<Selection> xdp(std::span<const Item> items, std::int64_t capacity) try {
  Prepared prepared = TS_TRY(prepare(items, capacity));
  std::vector<Open<std::int64_t>> open;
  open.reserve(prepared.open.size());
  for (const Entry& entry : prepared.open) open.push_back({entry.profit, entry.weight, entry.item});
  sort_by_efficiency(open);
  Selection selection =
      make_selection(items, prepared, choose(open, std::min(capacity, prepared.open_weight)));
  selection.upper_bound = prepared.free_profit + upper_bound(split_at_break(prepared.open, capacity));
  return selection;
} catch (const std::bad_alloc&) {
  return no_memory(items.size());
}

Result<RealSelection> xdp(std::span<const RealItem> items, double capacity) try {
  if (!(capacity >= 0) || std::isinf(capacity)) {
    return bad_input({"knapsack", "capacity", std::to_string(capacity), "a finite number >= 0",
                      "give the capacity in the unit of the weights"});
  }
  if (Status status = check_count(items.size()); !status.ok()) return status;
  RealSelection selection;
  std::vector<Open<double>> open;
  double profits = 0;
  double weights = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto [profit, weight] = items[i];
    profits += profit;
    weights += weight;
    if (!(profit >= 0) || std::isinf(profits)) return real_error(i, "profit", profit);
    if (!(weight >= 0) || std::isinf(weights)) return real_error(i, "weight", weight);
    if (profit == 0 || weight > capacity) continue;
    if (weight == 0) {
      selection.items.push_back(static_cast<std::uint32_t>(i));
      selection.upper_bound += profit;
    } else {
      open.push_back({profit, weight, static_cast<std::uint32_t>(i)});
    }
  }
  sort_by_efficiency(open);
  const std::vector<std::uint32_t> chosen = choose(open, capacity);
  selection.items.insert(selection.items.end(), chosen.begin(), chosen.end());
  std::sort(selection.items.begin(), selection.items.end());
  for (const std::uint32_t i : selection.items) {
    selection.profit += items[i].profit;
    selection.weight += items[i].weight;
  }
  double slack = capacity;
  for (const auto& [profit, weight, item] : open) {
    const double share = std::min(1.0, slack / weight);
    selection.upper_bound += share * profit;
    slack -= share * weight;
    if (share < 1) break;
  }
  selection.upper_bound = std::max(selection.upper_bound, selection.profit);
  return selection;
} catch (const std::bad_alloc&) {
  return no_memory(items.size());
}

}  // namespace tessera::knapsack
