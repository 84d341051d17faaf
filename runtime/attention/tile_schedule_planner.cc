#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/tile_schedule_rules.h"
#include "runtime/attention/tile_schedule_simulation.h"

namespace tessera::runtime {
namespace {

/// A rule that names the next transfer of an unfinished list.
enum class Policy : std::uint8_t {
  kUnlock,             // the receive that unlocks most blocks per unit of time; then the sends
  kColumnsFirst,       // all columns, all rows, sends
  kRowsFirst,          // all rows, all columns, sends
  kUnlockAlternating,  // kUnlock until one ring is complete, then receives and sends of the other in turn
  kColumnsFirstAlternating,  // all columns, then rows, each row sent kLag receives later
  kRowsFirstAlternating,     // backward: all rows, then columns, each column sent kLag receives later
};

constexpr std::array<Policy, 6> kPolicies = {Policy::kUnlock,
                                             Policy::kColumnsFirst,
                                             Policy::kRowsFirst,
                                             Policy::kUnlockAlternating,
                                             Policy::kColumnsFirstAlternating,
                                             Policy::kRowsFirstAlternating};

/// Which of several legal sends of one ring goes first. A flat ring leaves no choice; a hierarchical one has
/// one chain of inner sends per outer index.
enum class SendRule : std::uint8_t {
  kFirstSlot,     // in the order of arrival
  kLongestChain,  // the one with most transfer time behind it: dear outer hops are not left to the end
};

/// An alternating policy sends a slot once this many later slots have been received: its blocks then have
/// a hop's time to be computed in.
constexpr int kLag = 2;

class Planner {
 public:
  Planner(Pass pass, const MeshShape& shape, const ScheduleCosts& costs)
      : pass_(pass), rules_(pass, shape), costs_(costs), simulation_(rules_, costs) {
    lower_bound_ = lower_bound();
    const auto nested = [](const RingShape& ring) { return ring.outer > 1 && ring.inner > 1; };
    std::vector<SendRule> send_rules = {SendRule::kFirstSlot};
    if (nested(shape.q) || nested(shape.kv)) send_rules.push_back(SendRule::kLongestChain);
    for (const SendRule rule : send_rules) {
      send_rules_.push_back(
          {send_order(Transfer::kSendRow, shape.q, rule), send_order(Transfer::kSendColumn, shape.kv, rule)});
    }
    send_rule_ = &send_rules_.front();
  }

  Planner(const Planner&) = delete;  // send_rule_ points into the object
  Planner& operator=(const Planner&) = delete;

  [[nodiscard]] TransferOp next(const TransferState& state, Policy policy) const {
    TransferOp send{Transfer::kSendRow, 0};
    switch (policy) {
      case Policy::kUnlock: return unlock(state);
      case Policy::kUnlockAlternating:
        send = lagging_send(state, Transfer::kSendRow);
        if (send.slot == 0) send = lagging_send(state, Transfer::kSendColumn);
        return send.slot != 0 ? send : unlock(state);
      case Policy::kColumnsFirst:
      case Policy::kColumnsFirstAlternating:
        if (policy == Policy::kColumnsFirstAlternating) send = lagging_send(state, Transfer::kSendRow);
        return in_order(state, send, Transfer::kReceiveColumn, Transfer::kReceiveRow);
      case Policy::kRowsFirst:
      case Policy::kRowsFirstAlternating:
        if (policy == Policy::kRowsFirstAlternating) send = lagging_send(state, Transfer::kSendColumn);
        return in_order(state, send, Transfer::kReceiveRow, Transfer::kReceiveColumn);
    }
    return unlock(state);
  }

  void complete(TransferState state, Policy policy, std::vector<TransferOp>& list) const {
    while (!state.done()) {
      const TransferOp op = next(state, policy);
      state.issue(op);
      list.push_back(op);
    }
  }

  /// Keeps `list` if it beats the best so far.
  void offer(const std::vector<TransferOp>& list) {
    const double makespan = simulation_.run(list);
    if (makespan < best_makespan_) {
      best_makespan_ = makespan;
      best_ = list;
    }
  }

  /// Offers the completion of `prefix` by every policy.
  void improve(const TransferState& state, const std::vector<TransferOp>& prefix) {
    for (const SendOrders& send_rule : send_rules_) {
      send_rule_ = &send_rule;
      for (const Policy policy : kPolicies) {
        candidate_ = prefix;
        complete(state, policy, candidate_);
        offer(candidate_);
      }
    }
    send_rule_ = &send_rules_.front();
  }

  void roll_out() {
    TransferState state(rules_);
    std::vector<TransferOp> prefix;
    improve(state, prefix);
    while (!state.done() && !optimal()) {
      for (const TransferOp& op : state.legal_ops()) {
        TransferState after = state;
        after.issue(op);
        prefix.push_back(op);
        improve(after, prefix);
        prefix.pop_back();
      }
      prefix.push_back(best_[prefix.size()]);  // best_ starts with prefix throughout
      state.issue(prefix.back());
    }
  }

  void best_policy() { improve(TransferState(rules_), {}); }

  /// Offers every legal list, if there are at most `limit` of them.
  void exhaust(int limit) {
    if (optimal()) return;
    int lists = 0;
    std::vector<TransferOp> list;
    const TransferState start(rules_);
    const auto count = [&](const std::vector<TransferOp>& /*list*/) { return ++lists <= limit; };
    if (!each_list(start, list, count)) return;
    each_list(start, list, [&](const std::vector<TransferOp>& each) {
      offer(each);
      return !optimal();
    });
  }

  [[nodiscard]] TileSchedule result() { return finish(best_); }

  [[nodiscard]] TileSchedule greedy() {
    std::vector<TransferOp> list;
    complete(TransferState(rules_), Policy::kUnlock, list);
    return finish(std::move(list));
  }

 private:
  struct SendOrders {
    std::vector<int> rows, columns;
  };

  [[nodiscard]] TileSchedule finish(std::vector<TransferOp> list) {
    simulation_.run(list);
    return {pass_, rules_.shape(), std::move(list), simulation_.blocks()};
  }

  /// No list can do better: compute is one server, each lane is one, and after the last receive all blocks of
  /// its row or column are still to come.
  [[nodiscard]] double lower_bound() const {
    const auto time_of = [this](Transfer kind) {
      double sum = 0;
      for (int k = 1; k <= rules_.count(kind); ++k) sum += rules_.hop_time({kind, k}, costs_);
      return sum;
    };
    const int a = rules_.shape().a();
    const int b = rules_.shape().b();
    const double receive_rows = time_of(Transfer::kReceiveRow);
    const double receive_columns = time_of(Transfer::kReceiveColumn);
    const double rows = receive_rows + time_of(Transfer::kSendRow);
    const double columns = receive_columns + time_of(Transfer::kSendColumn);
    const double compute = a * b * costs_.block;
    if (costs_.two_lanes) {
      return std::max({compute, rows, columns, a > 1 ? receive_rows + b * costs_.block : 0,
                       b > 1 ? receive_columns + a * costs_.block : 0});
    }
    const int last = a == 1 ? a : b == 1 ? b : std::min(a, b);  // blocks that wait for the last receive
    return std::max({compute, rows + columns, receive_rows + receive_columns + last * costs_.block});
  }
  /// The tolerance covers sums formed in another order, nothing more.
  [[nodiscard]] bool optimal() const { return best_makespan_ <= lower_bound_ * (1 + 1e-12); }

  /// Visits the completions of `list` until visit returns false; whether it never did.
  template <class Visit>
  static bool each_list(const TransferState& state, std::vector<TransferOp>& list, const Visit& visit) {
    if (state.done()) return visit(list);
    for (const TransferOp& op : state.legal_ops()) {
      TransferState after = state;
      after.issue(op);
      list.push_back(op);
      const bool more = each_list(after, list, visit);
      list.pop_back();
      if (!more) return false;
    }
    return true;
  }

  /// For each slot the time of its send and of the sends that must follow it.
  [[nodiscard]] std::vector<double> chain_times(Transfer kind, const RingShape& ring) const {
    std::vector<double> times(static_cast<std::size_t>(ring.size()), 0);
    const RingPath path(ring, 0);
    // A send merges into a later slot of its inner chain or into the outer chain, so outer slots come first.
    for (int o = ring.outer - 1; o >= 0; --o) {
      for (int i = 0; i < ring.inner; ++i) {
        const int k = o * ring.inner + (ring.inner - i) % ring.inner;  // 0, inner - 1, ..., 1
        if (k == 0) continue;
        const auto target = static_cast<std::size_t>(path.merge_slot(k));
        times[static_cast<std::size_t>(k)] = rules_.hop_time({kind, k}, costs_) + times[target];
      }
    }
    return times;
  }

  /// Slots in an order that merged_before allows, the least first.
  [[nodiscard]] std::vector<int> slot_order(Transfer kind) const {
    std::vector<int> order;
    std::vector<char> placed(static_cast<std::size_t>(rules_.slots(kind)), 0);
    while (static_cast<int>(order.size()) < rules_.count(kind)) {
      int k = 1;
      const auto blocked = [&](int slot) {
        const auto& before = rules_.merged_before({kind, slot});
        return placed[static_cast<std::size_t>(slot)] != 0 ||
               std::any_of(before.begin(), before.end(),
                           [&](int earlier) { return placed[static_cast<std::size_t>(earlier)] == 0; });
      };
      while (blocked(k)) ++k;
      placed[static_cast<std::size_t>(k)] = 1;
      order.push_back(k);
    }
    return order;
  }

  /// The order of the sends of `kind` under `rule`. Both respect merged_before: a slot's chain is part of the
  /// chain of what merges into it.
  [[nodiscard]] std::vector<int> send_order(Transfer kind, const RingShape& ring, SendRule rule) const {
    std::vector<int> order = slot_order(kind);
    if (rule == SendRule::kLongestChain) {
      const std::vector<double> chain = chain_times(kind, ring);
      std::stable_sort(order.begin(), order.end(), [&](int x, int y) {
        return chain[static_cast<std::size_t>(x)] > chain[static_cast<std::size_t>(y)];
      });
    }
    return order;
  }

  /// The first legal send of `kind` under the send rule in force; slot 0 when there is none.
  [[nodiscard]] TransferOp next_send(const TransferState& state, Transfer kind) const {
    if (state.left(kind) > 0) {
      for (const int k : kind == Transfer::kSendRow ? send_rule_->rows : send_rule_->columns) {
        if (!state.was_issued({kind, k}) && state.objection({kind, k}) == nullptr) return {kind, k};
      }
    }
    return {kind, 0};
  }

  [[nodiscard]] TransferOp unlock(const TransferState& state) const {
    const TransferOp row{Transfer::kReceiveRow, state.issued(Transfer::kReceiveRow) + 1};
    const TransferOp column{Transfer::kReceiveColumn, state.issued(Transfer::kReceiveColumn) + 1};
    const bool rows_left = state.left(Transfer::kReceiveRow) > 0;
    const bool columns_left = state.left(Transfer::kReceiveColumn) > 0;
    if (rows_left && columns_left) {
      // A row unlocks one block per column present, row.slot and column.slot count what is present. Compared
      // without division: hop times may be 0. Ties go to the cheaper transfer, then to the row.
      const double row_time = rules_.hop_time(row, costs_);
      const double column_time = rules_.hop_time(column, costs_);
      const double row_gain = column.slot * column_time;
      const double column_gain = row.slot * row_time;
      if (row_gain != column_gain) return row_gain > column_gain ? row : column;
      return row_time <= column_time ? row : column;
    }
    if (rows_left) return row;
    if (columns_left) return column;
    return any_send(state);
  }

  /// The kind with more transfer time left goes first.
  [[nodiscard]] TransferOp any_send(const TransferState& state) const {
    const double rows = state.left(Transfer::kSendRow) * costs_.send_row;
    const double columns = state.left(Transfer::kSendColumn) * costs_.send_column;
    const bool row_first =
        state.left(Transfer::kSendColumn) == 0 || (state.left(Transfer::kSendRow) > 0 && rows > columns);
    return next_send(state, row_first ? Transfer::kSendRow : Transfer::kSendColumn);
  }

  /// The next send of `kind` if its slot arrived at least kLag receives ago; slot 0 if not.
  [[nodiscard]] TransferOp lagging_send(const TransferState& state, Transfer kind) const {
    const Transfer receive = kind == Transfer::kSendRow ? Transfer::kReceiveRow : Transfer::kReceiveColumn;
    if (state.left(receive) == 0) return {kind, 0};  // all here: the plain order of the sends serves
    const TransferOp send = next_send(state, kind);
    return send.slot != 0 && state.issued(receive) >= send.slot + kLag ? send : TransferOp{kind, 0};
  }

  [[nodiscard]] TransferOp in_order(const TransferState& state, const TransferOp& send, Transfer first,
                                    Transfer second) const {
    if (send.slot != 0) return send;
    for (const Transfer receive : {first, second}) {
      if (state.left(receive) > 0) return {receive, state.issued(receive) + 1};
    }
    return any_send(state);
  }

  Pass pass_;
  TransferRules rules_;
  ScheduleCosts costs_;
  EventSimulation simulation_;
  double lower_bound_ = 0;
  std::vector<SendOrders> send_rules_;
  const SendOrders* send_rule_ = nullptr;  // the one in force, an element of send_rules_
  std::vector<TransferOp> best_;
  std::vector<TransferOp> candidate_;
  double best_makespan_ = std::numeric_limits<double>::infinity();
};

/// Above this a + b the roll-out's O(L^2) simulations are not worth their time; the best policy is within
/// a few percent of the bound there.
constexpr int kRollOutLimit = 64;

/// Up to this many legal lists all are tried; enough for every flat shape of 16 ranks, milliseconds.
constexpr int kExhaustiveLimit = 5000;

}  // namespace

TileSchedule greedy_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs) {
  return Planner(pass, shape, costs).greedy();
}

TileSchedule plan_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs) {
  Planner planner(pass, shape, costs);
  if (shape.a() + shape.b() <= kRollOutLimit) {
    planner.roll_out();
    planner.exhaust(kExhaustiveLimit);
  } else {
    planner.best_policy();
  }
  return planner.result();
}

}  // namespace tessera::runtime
