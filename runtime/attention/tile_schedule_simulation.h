/// The exact event model of one rank's tile (tile_schedule.h, simulate), with buffers kept between runs.
#pragma once

#include <span>
#include <vector>

#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {

class EventSimulation {
 public:
  EventSimulation(const TransferRules& rules, const ScheduleCosts& costs);

  /// Makespan of a legal list; O(ab log(ab)). The accessors below then describe this run.
  double run(std::span<const TransferOp> transfers);

  [[nodiscard]] const std::vector<ScheduleTimeline::Span>& transfer_spans() const { return transfer_spans_; }
  [[nodiscard]] const std::vector<ScheduleTimeline::Span>& block_spans() const { return block_spans_; }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }

 private:
  struct Arrival {
    double time = 0;
    TransferOp op;
  };
  struct Ready {
    int deadline = 0;
    Block block;
  };
  static bool later(const Ready& x, const Ready& y);

  void set_deadlines(std::span<const TransferOp> transfers);
  void advance_lane(std::size_t lane, std::span<const TransferOp> transfers);
  /// When every block that `op` waits for has ended; negative while one of them is not yet placed.
  [[nodiscard]] double blocks_done(const TransferOp& op) const;
  void arrive(const TransferOp& op);
  void add_ready(int row, int column);

  const TransferRules* rules_;
  ScheduleCosts costs_;
  int a_;
  int b_;

  std::vector<int> row_deadline_, column_deadline_;
  std::vector<int> row_left_, column_left_;     // blocks not yet placed
  std::vector<double> row_done_, column_done_;  // end of the last block placed
  std::vector<int> rows_here_, columns_here_;   // slots whose receive has ended by the compute clock
  std::vector<std::size_t> lane_ops_[2];        // list positions, in order
  std::size_t lane_next_[2] = {0, 0};
  double lane_free_[2] = {0, 0};
  std::vector<Arrival> arrivals_[2];  // per lane, in time order
  std::size_t arrivals_seen_[2] = {0, 0};
  std::vector<Ready> ready_;  // a heap, least deadline on top
  std::vector<ScheduleTimeline::Span> transfer_spans_, block_spans_;
  std::vector<Block> blocks_;
};

}  // namespace tessera::runtime
