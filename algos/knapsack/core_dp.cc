#include "algos/knapsack/core_dp.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "algos/base/random.h"
#include "algos/base/require.h"

namespace tessera::knapsack {
namespace {

constexpr std::uint32_t kRoot = std::numeric_limits<std::uint32_t>::max();

struct State {
  std::int64_t slack;  // capacity left; negative while too heavy
  std::int64_t profit;
  std::int32_t count;
  std::uint32_t history;
};

/// The changes that led to a state, as a tree with links to the parent. A parent is older than its children.
class History {
 public:
  std::uint32_t add(std::uint32_t parent, std::uint32_t change) {
    nodes_.push_back({parent, change});
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }
  [[nodiscard]] std::vector<std::uint32_t> path(std::uint32_t node) const {
    std::vector<std::uint32_t> out;
    for (; node != kRoot; node = nodes_[node].parent) out.push_back(nodes_[node].change);
    return out;
  }
  [[nodiscard]] bool is_long() const { return nodes_.size() > limit_; }

  /// Forgets what neither a state nor `best` comes from. Amortised: the limit is twice what was left.
  void compact(std::vector<State>& states, std::uint32_t& best) {
    std::vector<std::uint32_t> moved(nodes_.size(), 0);
    const auto mark = [&](std::uint32_t node) {
      if (node != kRoot) moved[node] = 1;
    };
    for (const State& state : states) mark(state.history);
    mark(best);
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      if (moved[i] != 0) mark(nodes_[i].parent);
    }
    std::uint32_t kept = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (moved[i] == 0) continue;
      Node node = nodes_[i];
      if (node.parent != kRoot) node.parent = moved[node.parent];
      nodes_[kept] = node;
      moved[i] = kept++;
    }
    nodes_.resize(kept);
    for (State& state : states) {
      if (state.history != kRoot) state.history = moved[state.history];
    }
    if (best != kRoot) best = moved[best];
    limit_ = std::max(kLeast, 2 * nodes_.size());
  }

 private:
  static constexpr std::size_t kLeast = 1 << 20;
  struct Node {
    std::uint32_t parent;
    std::uint32_t change;
  };
  std::vector<Node> nodes_;
  std::size_t limit_ = kLeast;
};

/// What the groups still to come can do for a state.
struct Outlook {
  Ratio up;                // most q per weight added; 0 when nothing can be added with profit
  Ratio down{1, 0};        // least q lost per weight removed; 1/0 when nothing can be removed
  std::int64_t reach = 0;  // the greatest weight, either way, of a change
  Int128 next_loss = 0;    // of the next group, in units of 1 / price.den
};

class CoreDp {
 public:
  CoreDp(const Core& core, std::int64_t incumbent, std::int64_t ceiling, const Limits& limits)
      : core_(core), limits_(limits), gain_(incumbent), bound_(incumbent), ceiling_(ceiling) {
    prepare_order();
    prepare_outlooks();
  }

  CoreAnswer run() {
    states_.push_back({core_.slack, 0, 0, kRoot});
    const std::size_t groups = order_.size();
    for (std::size_t g = 0; g < groups && !states_.empty() && gain_ < ceiling_; ++g) {
      if (work_ > limits_.max_work) {
        for (const State& state : states_) give_up(state, outlooks_[g]);
        break;
      }
      const std::uint32_t begin = core_.group_begin[order_[g]];
      const std::uint32_t end = core_.group_begin[order_[g] + 1];
      for (std::uint32_t c = begin; c < end; ++c) {
        merge(c == begin ? states_ : merged_, core_.changes[c], outlooks_[g + 1]);
        std::swap(merged_, next_);
      }
      std::swap(states_, merged_);
      if (g + 1 == groups) break;  // what is left is complete, and its profit on record
      if (states_.size() > static_cast<std::size_t>(limits_.max_states)) thin(outlooks_[g + 1]);
      if (history_.is_long()) history_.compact(states_, best_);
    }
    CoreAnswer answer;
    answer.improved = improved_;
    answer.gain = gain_;
    answer.bound = std::max(gain_, std::min(bound_, ceiling_));
    answer.work = work_;
    if (improved_) answer.taken = history_.path(best_);
    return answer;
  }

 private:
  [[nodiscard]] std::int64_t scaled(const Change& change) const {
    return core_.profit_scale * change.profit - core_.count_price * change.count;
  }

  void prepare_order() {
    const Int128 lead = lead_of(core_, gain_);
    losses_.resize(core_.group_begin.size() - 1);
    for (std::uint32_t g = 0; g < losses_.size(); ++g) {
      for (std::uint32_t c = core_.group_begin[g]; c < core_.group_begin[g + 1]; ++c) {
        const Change& change = core_.changes[c];
        TS_REQUIRE(change.weight != 0, change.id);
        const Int128 loss = loss_of(core_, change);
        TS_REQUIRE(loss >= 0, change.id, change.weight, change.profit);
        losses_[g] = c == core_.group_begin[g] ? loss : std::min(losses_[g], loss);
      }
      if (losses_[g] <= lead) order_.push_back(g);
    }
    // Equal losses in a scrambled order: additions and removals, light and heavy, early on.
    std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
      return losses_[a] != losses_[b] ? losses_[a] < losses_[b] : mix64(a) < mix64(b);
    });
  }

  void prepare_outlooks() {
    outlooks_.resize(order_.size() + 1);
    for (std::size_t i = order_.size(); i-- > 0;) {
      Outlook outlook = outlooks_[i + 1];
      for (std::uint32_t c = core_.group_begin[order_[i]]; c < core_.group_begin[order_[i] + 1]; ++c) {
        const std::int64_t weight = core_.changes[c].weight;
        const std::int64_t q = scaled(core_.changes[c]);
        outlook.reach = std::max(outlook.reach, std::abs(weight));
        if (weight > 0 && greater({q, weight}, outlook.up)) outlook.up = {q, weight};
        if (weight < 0 && greater(outlook.down, {-q, -weight})) outlook.down = {-q, -weight};
      }
      outlook.next_loss = losses_[order_[i]];
      outlooks_[i] = outlook;
    }
  }

  /// q of the state plus what the count bound allows, less what `gain` needs.
  [[nodiscard]] std::int64_t surplus(const State& state, std::int64_t gain) const {
    return core_.profit_scale * (state.profit - gain) + core_.count_price * (core_.count_room - state.count);
  }

  /// Whether the bound of a state reaches `gain`.
  [[nodiscard]] bool may_reach(const State& state, std::int64_t gain, const Outlook& outlook) const {
    const std::int64_t q = surplus(state, gain);
    const Ratio e = state.slack >= 0 ? outlook.up : outlook.down;
    return Int128{q} * e.den + Int128{state.slack} * e.num >= 0 &&
           Int128{q} * core_.price.den + Int128{state.slack} * core_.price.num >= outlook.next_loss;
  }

  /// A state that is not followed any more: its bound limits what may have been missed.
  void give_up(const State& state, const Outlook& outlook) {
    const std::int64_t known = std::max(bound_, gain_);
    if (!may_reach(state, known + 1, outlook)) return;
    const std::int64_t q = surplus(state, 0);
    const Ratio e = state.slack >= 0 ? outlook.up : outlook.down;
    const Int128 by_outlook =
        floor_div(Int128{q} * e.den + Int128{state.slack} * e.num, Int128{e.den} * core_.profit_scale);
    const Int128 by_price =
        floor_div(Int128{q} * core_.price.den + Int128{state.slack} * core_.price.num - outlook.next_loss,
                  Int128{core_.price.den} * core_.profit_scale);
    bound_ = static_cast<std::int64_t>(std::min(by_outlook, by_price));
  }

  /// next_ = sorted by falling slack, undominated and unbounded, `kept` and states_ with `change` applied.
  void merge(const std::vector<State>& kept, const Change& change, const Outlook& outlook) {
    next_.clear();
    std::int64_t richest = std::numeric_limits<std::int64_t>::min();
    auto a = kept.begin();
    auto b = states_.begin();
    const auto a_end = kept.end();
    const auto b_end = states_.end();
    work_ += (a_end - a) + (b_end - b);
    while (a != a_end || b != b_end) {
      State state;
      bool changed = a == a_end;
      if (!changed && b != b_end) {
        const std::int64_t b_slack = b->slack - change.weight;
        changed = b_slack > a->slack || (b_slack == a->slack && b->profit + change.profit > a->profit);
      }
      if (changed) {
        state = {b->slack - change.weight, b->profit + change.profit, b->count + change.count, b->history};
        ++b;
      } else {
        state = *a++;
      }
      if (state.profit <= richest) continue;
      const bool better = state.slack >= 0 && state.profit > gain_;
      if (better) gain_ = state.profit;
      const bool alive = may_reach(state, gain_ + 1, outlook);
      if (!better && !alive) continue;
      if (changed) state.history = history_.add(state.history, change.id);
      if (better) {
        best_ = state.history;
        improved_ = true;
      }
      if (!alive) continue;
      richest = state.profit;
      next_.push_back(state);
    }
  }

  /// Intervals of equal width over the slacks that one more change can settle; those beyond join the ends.
  void thin(const Outlook& outlook) {
    const Int128 span = 2 * Int128{outlook.reach} + 1;
    const auto bin = [&](const State& state) {
      const std::int64_t slack = std::clamp(state.slack, -outlook.reach, outlook.reach);
      return static_cast<std::int64_t>(Int128{outlook.reach - slack} * limits_.max_states / span);
    };
    const auto promise = [&](const State& state) {
      const Ratio e = state.slack >= 0 ? outlook.up : outlook.down;
      return static_cast<double>(surplus(state, 0)) +
             static_cast<double>(state.slack) * static_cast<double>(e.num) / static_cast<double>(e.den);
    };
    next_.clear();
    std::int64_t last_bin = -1;
    for (const State& state : states_) {
      const std::int64_t state_bin = bin(state);
      if (state_bin != last_bin) {
        next_.push_back(state);
        last_bin = state_bin;
        continue;
      }
      const bool replaces = promise(state) > promise(next_.back());
      give_up(replaces ? next_.back() : state, outlook);
      if (replaces) next_.back() = state;
    }
    std::swap(states_, next_);
  }

  const Core& core_;
  const Limits limits_;
  std::vector<std::uint32_t> order_;  // groups by rising loss
  std::vector<Int128> losses_;
  std::vector<Outlook> outlooks_;  // of a state, before each place in the order
  History history_;
  std::vector<State> states_, merged_, next_;
  std::int64_t gain_;  // best known
  std::uint32_t best_ = kRoot;
  bool improved_ = false;
  std::int64_t bound_;  // of the states given up
  std::int64_t ceiling_;
  std::int64_t work_ = 0;
};

}  // namespace

CoreAnswer run_core(const Core& core, std::int64_t incumbent, std::int64_t ceiling, const Limits& limits,
                    std::int64_t first_states) {
  CoreAnswer best;
  best.gain = incumbent;
  best.bound = std::max(incumbent, ceiling);
  std::int64_t states = std::min(first_states, limits.max_states);
  while (best.gain < best.bound) {
    CoreAnswer answer = CoreDp(core, best.gain, best.bound, {states, limits.max_work - best.work}).run();
    best.work += answer.work;
    best.gain = answer.gain;
    best.bound = answer.bound;
    if (answer.improved) {
      best.improved = true;
      best.taken = std::move(answer.taken);
    }
    if (states == limits.max_states || best.work > limits.max_work) break;
    states = std::min(8 * states, limits.max_states);
  }
  return best;
}

}  // namespace tessera::knapsack
