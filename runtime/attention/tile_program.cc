#include "runtime/attention/tile_program.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/ring_messages.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {
namespace {

constexpr int kTagsPerKind = 1 << 17;

/// plan_schedule, once per process and question: ranks that are threads, and the layers of a model, ask the
/// same one.
TileSchedule planned_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& c) {
  static std::mutex mutex;
  static std::map<std::string, TileSchedule> plans;
  const std::string question =
      fmt::format("{} {} {} {} {} {} {} {} {}", static_cast<int>(pass), to_string(shape), c.block,
                  c.receive_row, c.receive_column, c.send_row, c.send_column, c.outer_factor, c.two_lanes);
  const std::lock_guard lock(mutex);
  const auto known = plans.find(question);
  if (known != plans.end()) return known->second;
  return plans.emplace(question, plan_schedule(pass, shape, c)).first->second;
}

Traffic traffic_of(Pass pass, Transfer kind) {
  switch (kind) {
    case Transfer::kReceiveRow: return Traffic::kQuery;
    case Transfer::kReceiveColumn: return Traffic::kKeyValue;
    case Transfer::kSendRow: return pass == Pass::kForward ? Traffic::kPartialOut : Traffic::kQueryGrad;
    case Transfer::kSendColumn: return Traffic::kKeyValueGrad;
  }
  return Traffic::kControl;
}

}  // namespace

TileProgram::TileProgram(Pass pass, const MeshShape& shape, const ScheduleCosts& costs, const ChunkMask& mask,
                         int super_rank)
    : schedule_(planned_schedule(pass, shape, costs)),
      row_additions_(static_cast<std::size_t>(shape.a())),
      column_additions_(static_cast<std::size_t>(shape.b())) {
  TS_REQUIRE(shape.a() < kTagsPerKind && shape.b() < kTagsPerKind, shape.a(), shape.b());
  TS_REQUIRE(super_rank >= 0 && super_rank < shape.super_ranks(), super_rank, shape.super_ranks());
  const Status legal = check_schedule(schedule_);
  TS_REQUIRE(legal.ok(), legal.message(), to_string(schedule_));
  for (const TransferOp& op : schedule_.transfers) {
    const bool second = costs.two_lanes && !on_row_ring(op.kind);
    lanes_[second ? 1 : 0].push_back(transfers_.size());
    TileTransfer transfer;
    transfer.op = op;
    transfer.tag = static_cast<int>(kind_index(op.kind)) * kTagsPerKind + op.slot;
    transfer.traffic = traffic_of(pass, op.kind);
    transfers_.push_back(transfer);
  }
  add_ring(true, mask, super_rank);
  add_ring(false, mask, super_rank);
  const TileAssignment assignment(shape);
  for (const Block& block : schedule_.blocks) {
    if (mask.sees(assignment.row_chunk(super_rank, Row(block.row)),
                  assignment.column_chunk(super_rank, Column(block.column)))) {
      blocks_.push_back(block);
    }
  }
  row_staging_ = staging_needed(Transfer::kSendRow);
  column_staging_ = staging_needed(Transfer::kSendColumn);
}

void TileProgram::add_ring(bool rows, const ChunkMask& mask, int super_rank) {
  const MeshShape& shape = schedule_.shape;
  const TileAssignment assignment(shape);
  const int self = rows ? assignment.q_index(super_rank) : assignment.kv_index(super_rank);
  const int ring = rows ? assignment.kv_index(super_rank) : assignment.q_index(super_rank);
  const Transfer out = rows ? Transfer::kReceiveRow : Transfer::kReceiveColumn;
  const Transfer back = rows ? Transfer::kSendRow : Transfer::kSendColumn;
  std::vector<std::size_t> position(2 * static_cast<std::size_t>(rows ? shape.a() : shape.b()), 0);
  const auto place = [&](bool is_back, int slot) -> std::size_t& {
    return position[2 * static_cast<std::size_t>(slot) + (is_back ? 1 : 0)];
  };
  for (std::size_t i = 0; i < transfers_.size(); ++i) {
    const TransferOp& op = transfers_[i].op;
    if (op.kind == out || op.kind == back) place(op.kind == back, op.slot) = i;
  }

  auto& additions = rows ? row_additions_ : column_additions_;
  std::vector<std::pair<int, TileArrival>> outer;  // to slot; added after those of the inner rings
  for (const RingMessage& message : ring_messages(ring_use(shape, mask, rows, ring), self)) {
    if (message.back && !rows && schedule_.pass == Pass::kForward) continue;
    const std::size_t at = place(message.back, message.op_slot);
    TileTransfer& transfer = transfers_[at];
    if (message.from == self) transfer.sends.push_back({Rank(message.to), message.from_slot});
    if (message.to != self) continue;
    const TileArrival arrival{at, transfer.receives.size()};
    transfer.receives.push_back({Rank(message.from), message.to_slot});
    if (!message.back) continue;
    if (message.outer) {
      outer.emplace_back(message.to_slot, arrival);
    } else {
      additions[static_cast<std::size_t>(message.to_slot)].push_back(arrival);
    }
  }
  for (const auto& [slot, arrival] : outer) additions[static_cast<std::size_t>(slot)].push_back(arrival);
}

int TileProgram::staging_needed(Transfer kind) const {
  const bool row = on_row_ring(kind);
  // last_block[slot]: how much of the compute order must be over before the slot's own blocks are.
  const auto last_block_of = [&](bool rows) {
    std::vector<std::size_t> last(static_cast<std::size_t>(rows ? schedule_.shape.a() : schedule_.shape.b()));
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      last[static_cast<std::size_t>(rows ? blocks_[i].row : blocks_[i].column)] = i + 1;
    }
    return last;
  };
  const std::vector<std::size_t> row_last = last_block_of(true);
  const std::vector<std::size_t> column_last = last_block_of(false);
  const std::vector<std::size_t>& last = row ? row_last : column_last;

  int most = 0;
  for (const std::vector<std::size_t>& lane : lanes_) {
    std::size_t computed = 0;          // blocks certain to be over
    std::vector<TileArrival> waiting;  // partials of this kind that have come and may still hold a buffer
    std::vector<char> over(transfers_.size(), 0);
    for (const std::size_t position : lane) {
      const TileTransfer& transfer = transfers_[position];
      if (transfer.op.kind == kind && !transfer.receives.empty()) {
        std::erase_if(waiting, [&](const TileArrival& earlier) {
          const int slot = transfers_[earlier.transfer].receives[earlier.receive].slot;
          bool merged = last[static_cast<std::size_t>(slot)] <= computed;
          for (const TileArrival& addition : additions(row, slot)) {
            merged = merged && over[addition.transfer] != 0;
            if (addition == earlier) break;
          }
          return merged;
        });
        for (std::size_t r = 0; r < transfer.receives.size(); ++r) waiting.push_back({position, r});
        most = std::max(most, static_cast<int>(waiting.size()));
      }
      over[position] = 1;
      if (transfer.sends.empty()) continue;
      const auto slot = static_cast<std::size_t>(transfer.op.slot);
      if (transfer.op.kind == Transfer::kSendRow) computed = std::max(computed, row_last[slot]);
      if (transfer.op.kind == Transfer::kSendColumn) computed = std::max(computed, column_last[slot]);
    }
  }
  return most;
}

}  // namespace tessera::runtime
