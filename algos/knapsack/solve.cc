#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

#include "algos/knapsack/cardinality_bound.h"
#include "algos/knapsack/core_dp.h"
#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {
namespace {

class Search {
 public:
  Search(std::vector<Entry>& entries, std::int64_t capacity, const Limits& limits)
      : entries_(entries), capacity_(capacity), limits_(limits), work_left_(limits.max_work) {
    const BreakSolution split = split_at_break(entries_, capacity_);
    bound_ = upper_bound(split);
    adopt(split, {});
    first_fill(split);
  }

  /// A short pass settles most cores. The others are worth a price per item, found from a better incumbent.
  void run() {
    attempt({}, kFirstStates, kFirstStates);
    if (proven() || work_left_ <= 0) return;
    const CountPrice best = best_count_price(entries_, capacity_, profit_);
    bound_ = std::max(profit_, std::min(bound_, best.bound));
    const std::int64_t first_states = best.price == 0 ? 8 * kFirstStates : kFirstStates;
    if (!proven()) attempt(best, first_states, limits_.max_states);
  }

  [[nodiscard]] bool proven() const { return profit_ == bound_; }
  [[nodiscard]] std::int64_t bound() const { return bound_; }
  [[nodiscard]] std::vector<std::uint32_t>& items() { return items_; }

 private:
  /// The break solution with `flips` (positions in the entries) becomes the incumbent.
  void adopt(const BreakSolution& split, const std::vector<std::uint32_t>& flips) {
    std::vector<bool> taken(entries_.size(), false);
    std::fill(taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(split.taken), true);
    for (const std::uint32_t i : flips) taken[i] = !taken[i];
    items_.clear();
    profit_ = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!taken[i]) continue;
      items_.push_back(entries_[i].item);
      profit_ += entries_[i].profit;
    }
  }

  /// The break solution with the best single addition, or with the break item in place of one taken item.
  void first_fill(const BreakSolution& split) {
    std::int64_t best = 0;
    std::vector<std::uint32_t> flips;
    const auto count = static_cast<std::uint32_t>(entries_.size());
    const auto taken = static_cast<std::uint32_t>(split.taken);
    for (std::uint32_t i = taken; i < count; ++i) {
      if (entries_[i].weight > split.slack || entries_[i].profit <= best) continue;
      best = entries_[i].profit;
      flips = {i};
    }
    for (std::uint32_t i = 0; i < taken && taken < count; ++i) {
      const std::int64_t gain = entries_[taken].profit - entries_[i].profit;
      if (split.slack + entries_[i].weight < entries_[taken].weight || gain <= best) continue;
      best = gain;
      flips = {i, taken};
    }
    if (best > 0) adopt(split, flips);
  }

  void attempt(const CountPrice& price, std::int64_t first_states, std::int64_t last_states) {
    const BreakSolution split = split_at_break(entries_, capacity_, price.scale, price.price);
    if (split.profit > profit_) adopt(split, {});
    fill_core(split, price);
    const CoreAnswer answer = run_core(core_, profit_ - split.profit, bound_ - split.profit,
                                       {std::min(last_states, limits_.max_states), work_left_}, first_states);
    work_left_ -= answer.work;
    if (answer.improved) {
      std::vector<std::uint32_t> flips;
      for (const std::uint32_t id : answer.taken) {
        flips.insert(flips.end(), members_.begin() + pieces_[id].first,
                     members_.begin() + pieces_[id].first + pieces_[id].size);
      }
      adopt(split, flips);
    }
    bound_ = std::max(profit_, std::min(bound_, split.profit + answer.bound));
  }

  /// The items whose decision may differ in an improvement, as changes of the break solution. Equal items
  /// become pieces of 1, 2, 4, ... copies: any number of them is a sum of pieces.
  void fill_core(const BreakSolution& split, const CountPrice& price) {
    core_ = {};
    core_.price = split.price;
    core_.slack = split.slack;
    core_.profit_scale = price.scale;
    core_.count_price = price.price;
    core_.count_room = price.limit - static_cast<std::int64_t>(split.taken);
    members_.clear();
    pieces_.clear();
    const Int128 lead = lead_of(core_, profit_ - split.profit);
    const auto change_of = [&](std::uint32_t i) {
      const Entry& e = entries_[i];
      return i < split.taken ? Change{-e.weight, -e.profit, -1, 0} : Change{e.weight, e.profit, 1, 0};
    };
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      if (loss_of(core_, change_of(i)) <= lead) members_.push_back(i);
    }
    const auto key = [&](std::uint32_t i) {
      const Change change = change_of(i);
      return std::tuple(change.weight, change.profit, i);
    };
    std::sort(members_.begin(), members_.end(),
              [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
    for (std::uint32_t first = 0; first < members_.size();) {
      const Change one = change_of(members_[first]);
      std::uint32_t end = first;
      while (end < members_.size() && change_of(members_[end]).weight == one.weight &&
             change_of(members_[end]).profit == one.profit) {
        ++end;
      }
      for (std::uint32_t size = 1; first < end; size *= 2) {
        const std::uint32_t copies = std::min(size, end - first);
        const Change piece{one.weight * copies, one.profit * copies,
                           one.count * static_cast<std::int32_t>(copies),
                           static_cast<std::uint32_t>(pieces_.size())};
        if (loss_of(core_, piece) <= lead) {
          core_.group_begin.push_back(static_cast<std::uint32_t>(core_.changes.size()));
          core_.changes.push_back(piece);
          pieces_.push_back({first, copies});
        }
        first += copies;
      }
    }
    core_.group_begin.push_back(static_cast<std::uint32_t>(core_.changes.size()));
  }

  struct Piece {
    std::uint32_t first;  // in members_
    std::uint32_t size;
  };

  std::vector<Entry>& entries_;
  const std::int64_t capacity_;
  const Limits limits_;
  std::int64_t work_left_;
  std::vector<std::uint32_t> items_;  // the incumbent, as positions in the input
  std::int64_t profit_ = 0;
  std::int64_t bound_ = 0;
  Core core_;
  std::vector<std::uint32_t> members_;  // positions in the entries, equal items side by side
  std::vector<Piece> pieces_;           // by change id
};

}  // namespace

Result<Selection> solve(std::span<const Item> items, std::int64_t capacity, const Limits& limits) {
  if (Status status = check(limits); !status.ok()) return status;
  Prepared prepared = TS_TRY(prepare(items, capacity));
  const std::int64_t unit = divide_by_common(prepared.open, &Entry::profit);
  const std::int64_t weight_unit = divide_by_common(prepared.open, &Entry::weight);
  Search search(prepared.open, capacity / weight_unit, limits);
  search.run();
  Selection selection = make_selection(items, prepared, std::move(search.items()));
  selection.upper_bound = prepared.free_profit + unit * search.bound();
  if (!selection.proven()) {
    // A search that a limit ended early may not have met what greedy finds.
    Selection filled = TS_TRY(greedy(items, capacity));
    filled.upper_bound = selection.upper_bound;
    if (filled.profit > selection.profit) return filled;
  }
  return selection;
}

}  // namespace tessera::knapsack
