#include <algorithm>
#include <cstddef>

#include "algos/knapsack/core_dp.h"
#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {
namespace {

/// The items whose decision may differ in a selection with more than `incumbent` over the break solution.
Core make_core(std::span<const Entry> entries, const BreakSolution& split, std::int64_t incumbent) {
  Core core;
  core.price = split.price;
  core.slack = split.slack;
  const Int128 lead = lead_of(core, incumbent);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto id = static_cast<std::uint32_t>(i);
    const Change add{entries[i].weight, entries[i].profit, 1, id};
    const Change change = i < split.taken ? Change{-add.weight, -add.profit, -1, id} : add;
    if (loss_of(core, change) > lead) continue;
    core.group_begin.push_back(static_cast<std::uint32_t>(core.changes.size()));
    core.changes.push_back(change);
  }
  core.group_begin.push_back(static_cast<std::uint32_t>(core.changes.size()));
  return core;
}

/// The break solution with the best single addition, or with the break item in place of one taken item.
struct FirstFill {
  std::int64_t gain = 0;
  std::vector<std::uint32_t> flips;  // positions in the entries
};

FirstFill first_fill(std::span<const Entry> entries, const BreakSolution& split) {
  FirstFill best;
  const std::size_t n = entries.size();
  for (std::size_t i = split.taken; i < n; ++i) {
    if (entries[i].weight <= split.slack && entries[i].profit > best.gain) {
      best = {entries[i].profit, {static_cast<std::uint32_t>(i)}};
    }
  }
  if (split.taken == n) return best;
  const Entry& broken = entries[split.taken];
  for (std::size_t i = 0; i < split.taken; ++i) {
    const std::int64_t gain = broken.profit - entries[i].profit;
    if (split.slack + entries[i].weight >= broken.weight && gain > best.gain) {
      best = {gain, {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(split.taken)}};
    }
  }
  return best;
}

}  // namespace

Result<Selection> solve(std::span<const Item> items, std::int64_t capacity, const Limits& requested) {
  Prepared prepared = TS_TRY(prepare(items, capacity));
  std::vector<Entry>& open = prepared.open;
  const Limits limits = with_defaults(requested, open.size());
  const BreakSolution split = split_at_break(open, capacity);
  const FirstFill first = first_fill(open, split);
  const std::int64_t ceiling = upper_bound(split) - split.profit;
  const Core core = make_core(open, split, first.gain);
  const CoreAnswer answer = run_core(core, first.gain, ceiling, limits);

  std::vector<bool> taken(open.size(), false);
  std::fill(taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(split.taken), true);
  for (const std::uint32_t i : answer.improved ? answer.taken : first.flips) taken[i] = !taken[i];
  std::vector<std::uint32_t> chosen;
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (taken[i]) chosen.push_back(open[i].item);
  }
  Selection selection = make_selection(items, prepared, std::move(chosen));
  selection.upper_bound = prepared.free_profit + split.profit + answer.bound;
  return selection;
}

}  // namespace tessera::knapsack
