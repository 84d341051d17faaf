#include "runtime/attention/tile_schedule_simulation.h"

#include <algorithm>
#include <limits>

#include "algos/base/require.h"

namespace tessera::runtime {
namespace {
constexpr int kNoDeadline = std::numeric_limits<int>::max();
}

EventSimulation::EventSimulation(const TransferRules& rules, const ScheduleCosts& costs)
    : rules_(&rules), costs_(costs), a_(rules.shape().a()), b_(rules.shape().b()) {}

/// Ties go to the lower row, then the lower column, so the compute order is a function of the list alone.
bool EventSimulation::later(const Ready& x, const Ready& y) {
  if (x.deadline != y.deadline) return x.deadline > y.deadline;
  if (x.block.row != y.block.row) return x.block.row > y.block.row;
  return x.block.column > y.block.column;
}

void EventSimulation::set_deadlines(std::span<const TransferOp> transfers) {
  row_deadline_.assign(static_cast<std::size_t>(a_), kNoDeadline);
  column_deadline_.assign(static_cast<std::size_t>(b_), kNoDeadline);
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    const auto slot = static_cast<std::size_t>(transfers[i].slot);
    if (transfers[i].kind == Transfer::kSendRow) row_deadline_[slot] = static_cast<int>(i);
    if (transfers[i].kind == Transfer::kSendColumn) column_deadline_[slot] = static_cast<int>(i);
  }
}

double EventSimulation::blocks_done(const TransferOp& op) const {
  // What else a transfer waits for, its source slot or the partials merging into its slot, came by the same
  // lane earlier in the list; the lane's own order covers that.
  if (!is_send(op.kind)) return 0;
  const auto slot = static_cast<std::size_t>(op.slot);
  const bool row = op.kind == Transfer::kSendRow;
  if ((row ? row_left_ : column_left_)[slot] > 0) return -1;
  return (row ? row_done_ : column_done_)[slot];
}

void EventSimulation::advance_lane(std::size_t lane, std::span<const TransferOp> transfers) {
  for (; lane_next_[lane] < lane_ops_[lane].size(); ++lane_next_[lane]) {
    const std::size_t position = lane_ops_[lane][lane_next_[lane]];
    const TransferOp& op = transfers[position];
    const double ready = blocks_done(op);
    if (ready < 0) return;
    const double start = std::max(lane_free_[lane], ready);
    const double end = start + rules_->hop_time(op, costs_);
    transfer_spans_[position] = {start, end};
    lane_free_[lane] = end;
    if (!is_send(op.kind)) arrivals_[lane].push_back({end, op});
  }
}

void EventSimulation::add_ready(int row, int column) {
  const int deadline = std::min(row_deadline_[static_cast<std::size_t>(row)],
                                column_deadline_[static_cast<std::size_t>(column)]);
  ready_.push_back({deadline, {row, column}});
  std::push_heap(ready_.begin(), ready_.end(), later);
}

void EventSimulation::arrive(const TransferOp& op) {
  if (op.kind == Transfer::kReceiveRow) {
    rows_here_.push_back(op.slot);
    for (const int column : columns_here_) add_ready(op.slot, column);
  } else {
    columns_here_.push_back(op.slot);
    for (const int row : rows_here_) add_ready(row, op.slot);
  }
}

double EventSimulation::run(std::span<const TransferOp> transfers) {
  const auto a = static_cast<std::size_t>(a_);
  const auto b = static_cast<std::size_t>(b_);
  set_deadlines(transfers);
  row_left_.assign(a, b_);
  column_left_.assign(b, a_);
  row_done_.assign(a, 0);
  column_done_.assign(b, 0);
  rows_here_.assign(1, 0);
  columns_here_.assign(1, 0);
  for (const std::size_t lane : {0, 1}) {
    lane_ops_[lane].clear();
    arrivals_[lane].clear();
    lane_next_[lane] = arrivals_seen_[lane] = 0;
    lane_free_[lane] = 0;
  }
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    const bool second = costs_.two_lanes && !on_row_ring(transfers[i].kind);
    lane_ops_[second ? 1 : 0].push_back(i);
  }
  transfer_spans_.assign(transfers.size(), {});
  block_spans_.clear();
  blocks_.clear();
  ready_.clear();
  add_ready(0, 0);

  double now = 0;  // when the compute server is free
  for (std::size_t placed = 0; placed < a * b; ++placed) {
    // Everything that starts by `now` depends on blocks placed so far only, so its time is known here.
    for (const std::size_t lane : {0, 1}) advance_lane(lane, transfers);
    for (;;) {
      double next = std::numeric_limits<double>::infinity();
      for (const std::size_t lane : {0, 1}) {
        auto& seen = arrivals_seen_[lane];
        for (; seen < arrivals_[lane].size() && arrivals_[lane][seen].time <= now; ++seen) {
          arrive(arrivals_[lane][seen].op);
        }
        if (seen < arrivals_[lane].size()) next = std::min(next, arrivals_[lane][seen].time);
      }
      if (!ready_.empty()) break;
      TS_REQUIRE(next < std::numeric_limits<double>::infinity(), placed, transfers.size());
      now = next;
    }
    std::pop_heap(ready_.begin(), ready_.end(), later);
    const Block block = ready_.back().block;
    ready_.pop_back();
    const double end = now + costs_.block;
    blocks_.push_back(block);
    block_spans_.push_back({now, end});
    const auto row = static_cast<std::size_t>(block.row);
    const auto column = static_cast<std::size_t>(block.column);
    --row_left_[row];
    --column_left_[column];
    row_done_[row] = column_done_[column] = end;
    now = end;
  }
  for (const std::size_t lane : {0, 1}) advance_lane(lane, transfers);
  TS_REQUIRE(lane_next_[0] + lane_next_[1] == transfers.size(), lane_next_[0], lane_next_[1]);
  return std::max({now, lane_free_[0], lane_free_[1]});
}

}  // namespace tessera::runtime
