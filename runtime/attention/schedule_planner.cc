#include <algorithm>
#include <array>
#include <utility>

#include "algos/base/require.h"
#include "runtime/attention/event_simulation.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/transfer_rules.h"

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

/// An alternating policy sends a slot once this many later slots have been received: its blocks then have
/// a hop's time to be computed in.
constexpr int kLag = 2;

class Planner {
 public:
  Planner(Pass pass, const MeshShape& shape, const ScheduleCosts& costs)
      : pass_(pass), rules_(pass, shape), costs_(costs), simulation_(rules_, costs) {}

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

  /// The best completion of `prefix` over all policies, if it beats `incumbent`, replaces it.
  void improve(const TransferState& state, const std::vector<TransferOp>& prefix) {
    for (const Policy policy : kPolicies) {
      candidate_ = prefix;
      complete(state, policy, candidate_);
      const double makespan = simulation_.run(candidate_);
      if (best_.empty() || makespan < best_makespan_) {
        best_makespan_ = makespan;
        best_ = candidate_;
      }
    }
  }

  void roll_out() {
    TransferState state(rules_);
    std::vector<TransferOp> prefix;
    improve(state, prefix);
    while (!state.done()) {
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

  void best_policy() {
    const TransferState state(rules_);
    improve(state, {});
  }

  [[nodiscard]] TileSchedule result() { return finish(best_); }

  [[nodiscard]] TileSchedule greedy() {
    std::vector<TransferOp> list;
    complete(TransferState(rules_), Policy::kUnlock, list);
    return finish(std::move(list));
  }

 private:
  [[nodiscard]] TileSchedule finish(std::vector<TransferOp> list) {
    simulation_.run(list);
    return {pass_, rules_.shape(), std::move(list), simulation_.blocks()};
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
    return state.first_legal_send(row_first ? Transfer::kSendRow : Transfer::kSendColumn);
  }

  /// The next send of `kind` if its slot arrived at least kLag receives ago; slot 0 if not.
  [[nodiscard]] TransferOp lagging_send(const TransferState& state, Transfer kind) const {
    const Transfer receive = kind == Transfer::kSendRow ? Transfer::kReceiveRow : Transfer::kReceiveColumn;
    if (state.left(receive) == 0) return {kind, 0};  // all here: the plain order of the sends serves
    const TransferOp send = state.first_legal_send(kind);
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
  std::vector<TransferOp> best_;
  std::vector<TransferOp> candidate_;
  double best_makespan_ = 0;
};

/// Above this a + b the roll-out's O(L^2) simulations are not worth their time; the best policy is within
/// a few percent of the bound there.
constexpr int kRollOutLimit = 64;

}  // namespace

TileSchedule greedy_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs) {
  return Planner(pass, shape, costs).greedy();
}

TileSchedule plan_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs) {
  Planner planner(pass, shape, costs);
  if (shape.a() + shape.b() <= kRollOutLimit) {
    planner.roll_out();
  } else {
    planner.best_policy();
  }
  return planner.result();
}

}  // namespace tessera::runtime
