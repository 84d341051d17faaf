/// A TileSchedule made ready to run on one rank, for a mask: peers, tags, who adds to what, buffers for what
/// comes in, and the blocks that have something to compute.
///
/// Everything here follows from (pass, shape, costs, mask) and the rank's place in its two rings, so it is
/// worked out once per mask and a call only walks through it. The list of ops is that of the schedule
/// whatever the mask; an op of which this rank has no message is over at once.
///
/// Staging. A received partial is added to its slot after the slot's own blocks, so it may have to wait.
/// How many can wait at once follows from the list: when a lane reaches op j, all its ops before j are over,
/// and with them the blocks they needed; what is then certain to have been added holds no buffer. A flat
/// ring whose slots are all used needs one or two buffers however many hops it has.
///
/// Example, 4x2, forward, rank 0, list "Q1 K1 Q2 Q3 O1 O2 O3": op O1 ships row 1 to rank 3 and receives from
/// rank 1 its row 1, which is chunk 2, row 2 here; O2 then ships row 2 with that partial added.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "algos/base/index.h"
#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// One message as this rank takes part in it.
struct TileMessage {
  Rank peer;     // in the ring's communicator
  int slot = 0;  // own slot that leaves, is filled, or is added to
};

/// One op as this rank takes part in it.
struct TileTransfer {
  TransferOp op;
  int tag = 0;
  Traffic traffic = Traffic::kQuery;
  std::vector<TileMessage> sends;
  std::vector<TileMessage> receives;
};

/// A partial that comes in: receive number `receive` of transfer number `transfer`.
struct TileArrival {
  std::size_t transfer = 0;
  std::size_t receive = 0;
  bool operator==(const TileArrival&) const = default;
};

class TileProgram {
 public:
  /// Requires  0 <= super_rank < a * b, a mask of as many chunks.
  TileProgram(Pass pass, const MeshShape& shape, const ScheduleCosts& costs, const ChunkMask& mask,
              int super_rank);

  [[nodiscard]] const TileSchedule& schedule() const { return schedule_; }
  [[nodiscard]] const std::vector<TileTransfer>& transfers() const { return transfers_; }
  /// Positions in transfers() of each lane's ops, in order.
  [[nodiscard]] const std::array<std::vector<std::size_t>, 2>& lanes() const { return lanes_; }
  /// The blocks in which something may be visible, in the schedule's order.
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }

  /// The partials that are added to row (column) `slot`, in the order of addition: that of the inner ring,
  /// then that of the outer ring.
  [[nodiscard]] const std::vector<TileArrival>& additions(bool row, int slot) const {
    return (row ? row_additions_ : column_additions_)[static_cast<std::size_t>(slot)];
  }
  /// Buffers for received partials of rows (columns) that must be on hand.
  [[nodiscard]] int staging(bool row) const { return row ? row_staging_ : column_staging_; }

 private:
  void add_ring(bool rows, const ChunkMask& mask, int super_rank);
  [[nodiscard]] int staging_needed(Transfer kind) const;

  TileSchedule schedule_;
  std::vector<TileTransfer> transfers_;
  std::array<std::vector<std::size_t>, 2> lanes_;
  std::vector<Block> blocks_;
  std::vector<std::vector<TileArrival>> row_additions_;
  std::vector<std::vector<TileArrival>> column_additions_;
  int row_staging_ = 0;
  int column_staging_ = 0;
};

}  // namespace tessera::runtime
