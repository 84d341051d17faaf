#include "algos/knapsack/prepare.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

namespace tessera::knapsack {
namespace {

Status item_error(std::size_t i, const char* field, std::int64_t found, const char* expected,
                  const char* remedy) {
  return bad_input(
      {"knapsack", "items[" + std::to_string(i) + "]." + field, std::to_string(found), expected, remedy});
}

}  // namespace

Status check(const Limits& limits) {
  const auto wrong = [](const char* field, std::int64_t found, const char* expected) {
    return bad_input({"knapsack", field, std::to_string(found), expected, "leave it at its default"});
  };
  constexpr std::int64_t kMostStates = std::int64_t{1} << 30;  // histories of all of them have 32-bit names
  if (limits.max_states < 1 || limits.max_states > kMostStates) {
    return wrong("limits.max_states", limits.max_states, "1 to 1073741824");
  }
  if (limits.max_work < 0) return wrong("limits.max_work", limits.max_work, "an integer >= 0");
  return {};
}

Status check_count(std::size_t items) {
  if (items <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) return {};
  return bad_input(
      {"knapsack", "items", std::to_string(items) + " items", "at most 2147483647", "split the problem"});
}

Result<Prepared> prepare(std::span<const Item> items, std::int64_t capacity) {
  if (capacity < 0) {
    return bad_input({"knapsack", "capacity", std::to_string(capacity), "an integer >= 0",
                      "give the capacity in the unit of the weights"});
  }
  if (Status status = check_count(items.size()); !status.ok()) return status;
  Prepared prepared;
  prepared.open.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto [profit, weight] = items[i];
    if (profit < 0) return item_error(i, "profit", profit, "an integer >= 0", "leave out what loses");
    if (weight < 0) return item_error(i, "weight", weight, "an integer >= 0", "weights are sizes");
    if (profit == 0 || weight > capacity) continue;
    std::int64_t& sum = weight == 0 ? prepared.free_profit : prepared.open_profit;
    if (profit >= kSumLimit - prepared.free_profit - prepared.open_profit) {
      return item_error(i, "profit", profit, "a sum of all profits below 2^62",
                        "measure profit in a larger unit");
    }
    if (weight >= kSumLimit - prepared.open_weight) {
      return item_error(i, "weight", weight, "a sum of all weights below 2^62",
                        "measure weight in a larger unit, rounded up");
    }
    sum += profit;
    prepared.open_weight += weight;
    const auto item = static_cast<std::uint32_t>(i);
    if (weight == 0) {
      prepared.free.push_back(item);
    } else {
      prepared.open.push_back({profit, weight, item});
    }
  }
  return prepared;
}

std::int64_t divide_by_common(std::span<Entry> entries, std::int64_t Entry::*field) {
  std::int64_t divisor = 0;
  for (const Entry& entry : entries) {
    divisor = std::gcd(divisor, entry.*field);
    if (divisor == 1) return 1;
  }
  if (divisor == 0) return 1;
  for (Entry& entry : entries) entry.*field /= divisor;
  return divisor;
}

Selection make_selection(std::span<const Item> items, const Prepared& prepared,
                         std::vector<std::uint32_t> chosen) {
  Selection selection;
  selection.items = std::move(chosen);
  selection.items.insert(selection.items.end(), prepared.free.begin(), prepared.free.end());
  std::sort(selection.items.begin(), selection.items.end());
  for (const std::uint32_t i : selection.items) {
    selection.profit += items[i].profit;
    selection.weight += items[i].weight;
  }
  return selection;
}

}  // namespace tessera::knapsack
