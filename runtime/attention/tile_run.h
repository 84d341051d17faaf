/// Walks through a TileProgram once: the only place where transfers and computation meet.
///
/// Each lane has one op in flight and takes them in list order; an op is posted when what it sends is
/// complete and over when all its messages are. Receives of chunks are posted at the start, those of
/// partials when their lane reaches them. Blocks are computed in the fixed order, sums formed in the fixed
/// order, so the result does not depend on when messages come. Between slices of a block the transfers in
/// flight, and whatever else the communicator has in flight, are polled.
///
/// A wait is entered only when the next block lacks a row or column, or no block is left; what it lasts is
/// the exposed wait.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "algos/base/clock.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/tile_program.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// What a pass keeps in the slots and does with them; the run decides when.
class TileWork {
 public:
  virtual ~TileWork() = default;
  /// What leaves with a transfer of this kind: the chunk, or the finished partial, in `slot`.
  [[nodiscard]] virtual std::span<const std::byte> outgoing(Transfer kind, int slot) = 0;
  /// Where what comes in goes: `slot` of a chunk, staging buffer `staging` of a partial for `slot`.
  [[nodiscard]] virtual std::span<std::byte> incoming(Transfer kind, int slot, int staging) = 0;
  /// A block is computed in slices 0, 1, ..., slices - 1.
  [[nodiscard]] virtual int slices(const Block& block) = 0;
  virtual void compute(const Block& block, int slice) = 0;
  /// Adds staging buffer `staging`, received by a transfer of this kind, to the partial in `slot`.
  virtual void add(Transfer kind, int slot, int staging) = 0;
};

/// Where a run lives. `comm` is polled and waited on; the rings may be null where they have one member.
struct TileRings {
  Communicator* comm = nullptr;
  Communicator* q = nullptr;
  Communicator* kv = nullptr;
};

/// What a run took, and whom to tell.
struct TileMeter {
  const Clock* clock = nullptr;
  AttentionTimes* times = nullptr;
  const std::function<void(const AttentionEvent&)>* observer = nullptr;

  /// Adds the time since `start` to `sum`, tells the observer, returns the time now.
  Nanoseconds record(const char* kind, int row, int column, Nanoseconds start,
                     double AttentionTimes::*sum) const;
};

/// Returns when all blocks are computed, all partials shipped and added. Throws CommError; nothing then
/// refers to the buffers any more.
void run_tile(const TileProgram& program, TileWork& work, const TileRings& rings, const TileMeter& meter);

}  // namespace tessera::runtime
