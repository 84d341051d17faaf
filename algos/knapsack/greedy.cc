#include <algorithm>

#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {

Result<std::int64_t> dantzig_bound(std::span<const Item> items, std::int64_t capacity) {
  Prepared prepared = TS_TRY(prepare(items, capacity));
  const BreakSolution split = split_at_break(prepared.open, capacity);
  return prepared.free_profit + upper_bound(split);
}

Result<Selection> greedy(std::span<const Item> items, std::int64_t capacity) {
  Prepared prepared = TS_TRY(prepare(items, capacity));
  std::vector<Entry>& open = prepared.open;
  std::sort(open.begin(), open.end(), [](const Entry& a, const Entry& b) {
    const Ratio left{a.profit, a.weight};
    const Ratio right{b.profit, b.weight};
    return greater(left, right) || (!greater(right, left) && a.item < b.item);
  });
  std::vector<std::uint32_t> chosen;
  std::int64_t room = capacity;
  std::int64_t profit = 0;
  const Entry* richest = nullptr;
  for (const Entry& entry : open) {
    if (richest == nullptr || entry.profit > richest->profit) richest = &entry;
    if (entry.weight > room) continue;
    room -= entry.weight;
    profit += entry.profit;
    chosen.push_back(entry.item);
  }
  if (richest != nullptr && richest->profit > profit) chosen = {richest->item};
  Selection selection = make_selection(items, prepared, std::move(chosen));
  selection.upper_bound = prepared.free_profit + upper_bound(split_at_break(open, capacity));
  return selection;
}

}  // namespace tessera::knapsack
