#include "runtime/attention/tile_schedule.h"

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/tile_schedule_rules.h"
#include "runtime/attention/tile_schedule_simulation.h"

namespace tessera::runtime {
namespace {

std::string op_name(const TransferOp& op, Pass pass) {
  const char* name = "?";
  switch (op.kind) {
    case Transfer::kReceiveRow: name = "Q"; break;
    case Transfer::kReceiveColumn: name = "K"; break;
    case Transfer::kSendRow: name = pass == Pass::kForward ? "O" : "dQ"; break;
    case Transfer::kSendColumn: name = "dK"; break;
  }
  return fmt::format("{}{}", name, op.slot);
}

Status check_shape(const MeshShape& shape) {
  for (const int size : {shape.heads, shape.q.outer, shape.q.inner, shape.kv.outer, shape.kv.inner}) {
    if (size < 1) {
      return {Code::kInvalidArgument, fmt::format("shape {} has a size below 1", to_string(shape))};
    }
  }
  return {};
}

Status check_transfers(const TransferRules& rules, const TileSchedule& schedule) {
  TransferState state(rules);
  for (std::size_t i = 0; i < schedule.transfers.size(); ++i) {
    const TransferOp& op = schedule.transfers[i];
    if (const char* objection = state.objection(op)) {
      return {Code::kInvalidArgument, fmt::format("transfer {} of {} ({}): {}", i, to_string(schedule.shape),
                                                  op_name(op, schedule.pass), objection)};
    }
    state.issue(op);
  }
  if (!state.done()) {
    return {Code::kInvalidArgument, fmt::format("{} transfers listed, {} has {}", schedule.transfers.size(),
                                                to_string(schedule.shape), rules.total())};
  }
  return {};
}

/// Walks the list and the compute order together, each as far as the other allows: a rank that starts
/// transfers strictly in list order and blocks strictly in compute order must reach the end of both.
Status check_blocks(const TransferRules& rules, const TileSchedule& schedule) {
  const auto a = static_cast<std::size_t>(rules.shape().a());
  const auto b = static_cast<std::size_t>(rules.shape().b());
  std::vector<char> seen(a * b, 0);
  for (const Block& block : schedule.blocks) {
    const auto row = static_cast<std::size_t>(block.row);
    const auto column = static_cast<std::size_t>(block.column);
    if (block.row < 0 || row >= a || block.column < 0 || column >= b || seen[row * b + column] != 0) {
      return {Code::kInvalidArgument,
              fmt::format("block ({}, {}) is outside the tile or listed twice", block.row, block.column)};
    }
    seen[row * b + column] = 1;
  }
  if (schedule.blocks.size() != a * b) {
    return {Code::kInvalidArgument,
            fmt::format("{} blocks in the compute order, the tile has {}", schedule.blocks.size(), a * b)};
  }

  std::vector<int> row_left(a, static_cast<int>(b));
  std::vector<int> column_left(b, static_cast<int>(a));
  std::vector<char> row_here(a, 0);
  std::vector<char> column_here(b, 0);
  row_here[0] = column_here[0] = 1;
  std::size_t next_block = 0;
  for (const TransferOp& op : schedule.transfers) {
    const auto slot = static_cast<std::size_t>(op.slot);
    const bool row = on_row_ring(op.kind);
    if (!is_send(op.kind)) {
      (row ? row_here : column_here)[slot] = 1;
      continue;
    }
    while ((row ? row_left : column_left)[slot] > 0) {
      const Block& block = schedule.blocks[next_block];
      if (row_here[static_cast<std::size_t>(block.row)] == 0 ||
          column_here[static_cast<std::size_t>(block.column)] == 0) {
        return {Code::kInvalidArgument,
                fmt::format("{} waits for its blocks, but block ({}, {}), earlier in the compute order, "
                            "waits for a receive behind it",
                            op_name(op, schedule.pass), block.row, block.column)};
      }
      --row_left[static_cast<std::size_t>(block.row)];
      --column_left[static_cast<std::size_t>(block.column)];
      ++next_block;
    }
  }
  return {};
}

}  // namespace

Status check_schedule(const TileSchedule& schedule) {
  TS_TRY(check_shape(schedule.shape));
  const TransferRules rules(schedule.pass, schedule.shape);
  TS_TRY(check_transfers(rules, schedule));
  return check_blocks(rules, schedule);
}

ScheduleTimeline simulate(TileSchedule& schedule, const ScheduleCosts& costs) {
  const TransferRules rules(schedule.pass, schedule.shape);
  const Status legal = check_transfers(rules, schedule);
  TS_REQUIRE(legal.ok(), legal.message());
  EventSimulation simulation(rules, costs);
  ScheduleTimeline timeline;
  timeline.makespan = simulation.run(schedule.transfers);
  timeline.transfers = simulation.transfer_spans();
  timeline.blocks = simulation.block_spans();
  schedule.blocks = simulation.blocks();
  timeline.compute_idle = timeline.makespan - static_cast<double>(schedule.blocks.size()) * costs.block;
  return timeline;
}

std::string to_string(const TileSchedule& schedule) {
  std::string text;
  for (const TransferOp& op : schedule.transfers) {
    if (!text.empty()) text += ' ';
    text += op_name(op, schedule.pass);
  }
  return text;
}

}  // namespace tessera::runtime
