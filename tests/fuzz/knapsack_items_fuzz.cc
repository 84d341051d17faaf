// Lines profit,weight of any bytes are refused with a message, or they are read again as the same items, and
// what the solvers answer is consistent: within the capacity, below their own bounds.
//
// The capacity is half of what fits 64 bits of the summed weights, so that items compete.
#include <algorithm>
#include <string>
#include <string_view>

#include "algos/knapsack/items_text.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace tessera;

constexpr std::int64_t kMost = std::int64_t{1} << 60;

std::int64_t capacity_for(const std::vector<knapsack::Item>& items) {
  std::int64_t total = 0;
  for (const knapsack::Item& item : items) {
    if (item.weight > 0 && item.weight < kMost) total = std::min(kMost, total + item.weight);
  }
  return total / 2;
}

void require_consistent(const std::vector<knapsack::Item>& items, std::int64_t capacity,
                        const Result<knapsack::Selection>& answer) {
  if (!answer.ok()) {
    fuzz::require_property(!answer.status().message().empty(), "a refusal says why");
    return;
  }
  std::int64_t profit = 0;
  std::int64_t weight = 0;
  for (const std::uint32_t i : answer->items) {
    profit += items[i].profit;
    weight += items[i].weight;
  }
  fuzz::require_property(profit == answer->profit && weight == answer->weight, "the items sum to the answer");
  fuzz::require_property(weight <= capacity, "never over capacity");
  fuzz::require_property(profit <= answer->upper_bound, "the bound holds");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string name = "items.csv";
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto items = knapsack::parse_items(text, name);
  const auto reals = knapsack::parse_real_items(text, name);
  if (!items.ok()) fuzz::require_complaint(items.status().message(), name);
  if (!reals.ok()) fuzz::require_complaint(reals.status().message(), name);
  if (items.ok()) {
    fuzz::require_property(reals.ok() && reals->size() == items->size(), "integers are reals");
    std::string written;
    for (const knapsack::Item& item : items.value()) {
      written += std::to_string(item.profit) + "," + std::to_string(item.weight) + "\n";
    }
    const auto again = knapsack::parse_items(written, name);
    fuzz::require_property(again.ok() && again->size() == items->size(), "what is written is read", written);
    for (std::size_t i = 0; i < again->size(); ++i) {
      fuzz::require_property(again.value()[i].profit == items.value()[i].profit &&
                                 again.value()[i].weight == items.value()[i].weight,
                             "reading is exact", written);
    }
    const std::int64_t capacity = capacity_for(items.value());
    const auto solved = knapsack::solve(items.value(), capacity, {64, 100000});
    const auto greedy = knapsack::greedy(items.value(), capacity);
    require_consistent(items.value(), capacity, solved);
    require_consistent(items.value(), capacity, greedy);
    require_consistent(items.value(), capacity, knapsack::xdp(items.value(), capacity));
    if (solved.ok()) {
      fuzz::require_property(greedy.ok() && greedy->profit <= solved->profit,
                             "solve is at least as good as greedy");
    }
  }
  if (reals.ok()) {
    const auto answer = knapsack::xdp(reals.value(), 1.0);
    if (answer.ok()) fuzz::require_property(answer->profit <= answer->upper_bound, "the real bound holds");
  }
  return 0;
}
