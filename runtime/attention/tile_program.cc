#include "runtime/attention/tile_program.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include <fmt/format.h>

#include "algos/base/require.h"
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

TileProgram::TileProgram(Pass pass, const MeshShape& shape, const ScheduleCosts& costs, int q_index,
                         int kv_index)
    : schedule_(planned_schedule(pass, shape, costs)),
      row_additions_(static_cast<std::size_t>(shape.a())),
      column_additions_(static_cast<std::size_t>(shape.b())) {
  TS_REQUIRE(shape.a() < kTagsPerKind && shape.b() < kTagsPerKind, shape.a(), shape.b());
  const Status legal = check_schedule(schedule_);
  TS_REQUIRE(legal.ok(), legal.message(), to_string(schedule_));
  add_rings(q_index, kv_index);
  for (std::size_t i = 0; i < transfers_.size(); ++i) {
    const bool second = costs.two_lanes && !on_row_ring(transfers_[i].op.kind);
    lanes_[second ? 1 : 0].push_back(i);
  }
  row_staging_ = staging_needed(Transfer::kSendRow);
  column_staging_ = staging_needed(Transfer::kSendColumn);
}

void TileProgram::add_rings(int q_index, int kv_index) {
  const RingPath q_path(schedule_.shape.q, q_index);
  const RingPath kv_path(schedule_.shape.kv, kv_index);
  std::vector<std::size_t> outer_sends;
  for (const TransferOp& op : schedule_.transfers) {
    const RingPath& path = on_row_ring(op.kind) ? q_path : kv_path;
    const bool send = is_send(op.kind);
    const RingHop hop = send ? path.send_back(op.slot) : path.receive(op.slot);
    TileTransfer transfer;
    transfer.op = op;
    transfer.to = Rank(hop.to);
    transfer.from = Rank(hop.from);
    transfer.tag = static_cast<int>(kind_index(op.kind)) * kTagsPerKind + op.slot;
    transfer.traffic = traffic_of(schedule_.pass, op.kind);
    transfer.sent_slot = hop.source_slot;
    transfer.received_slot = send ? path.merge_slot(op.slot) : op.slot;
    const std::size_t position = transfers_.size();
    transfers_.push_back(transfer);
    if (send && hop.outer) outer_sends.push_back(position);
    if (send && !hop.outer) {
      auto& additions = on_row_ring(op.kind) ? row_additions_ : column_additions_;
      additions[static_cast<std::size_t>(transfer.received_slot)].push_back(position);
    }
  }
  for (const std::size_t position : outer_sends) {  // after those of the inner rings
    const TileTransfer& transfer = transfers_[position];
    auto& additions = on_row_ring(transfer.op.kind) ? row_additions_ : column_additions_;
    additions[static_cast<std::size_t>(transfer.received_slot)].push_back(position);
  }
}

int TileProgram::staging_needed(Transfer kind) const {
  const bool row = on_row_ring(kind);
  // last_block[slot]: how much of the compute order must be over before the slot's own blocks are.
  const auto last_block_of = [&](bool rows) {
    std::vector<std::size_t> last(static_cast<std::size_t>(rows ? schedule_.shape.a() : schedule_.shape.b()));
    for (std::size_t i = 0; i < schedule_.blocks.size(); ++i) {
      const Block& block = schedule_.blocks[i];
      last[static_cast<std::size_t>(rows ? block.row : block.column)] = i + 1;
    }
    return last;
  };
  const std::vector<std::size_t> row_last = last_block_of(true);
  const std::vector<std::size_t> column_last = last_block_of(false);
  const std::vector<std::size_t>& last = row ? row_last : column_last;

  int most = 0;
  for (const std::vector<std::size_t>& lane : lanes_) {
    std::size_t computed = 0;          // blocks certain to be over
    std::vector<std::size_t> waiting;  // sends of this kind that are over and may still hold a buffer
    std::vector<char> over(transfers_.size(), 0);
    for (const std::size_t position : lane) {
      const TransferOp& op = transfers_[position].op;
      if (op.kind == kind) {
        std::erase_if(waiting, [&](std::size_t earlier) {
          const int slot = transfers_[earlier].received_slot;
          bool merged = last[static_cast<std::size_t>(slot)] <= computed;
          for (const std::size_t addition : additions(row, slot)) {
            merged = merged && over[addition] != 0;
            if (addition == earlier) break;
          }
          return merged;
        });
        waiting.push_back(position);
        most = std::max(most, static_cast<int>(waiting.size()));
        over[position] = 1;
      }
      const auto slot = static_cast<std::size_t>(op.slot);
      if (op.kind == Transfer::kSendRow) computed = std::max(computed, row_last[slot]);
      if (op.kind == Transfer::kSendColumn) computed = std::max(computed, column_last[slot]);
    }
  }
  return most;
}

}  // namespace tessera::runtime
