/// The memory that a MeshAttention allocates on one rank, worked out from its configuration alone. Pure.
///
///   rows      A = B c' H D, L = B c' H floats of each visited row's chunk of c' tokens:  3 (A + L), with
///   those of
///             slot 0 as far as they are not the caller's
///   columns   K = B c' G D of each visited column:  4 K, slot 0 alike
///   staging   one partial A + L or 2 K per buffer that a TileProgram asks for (any documents: at most one
///   per
///             visited slot; without documents exactly these)
///   exchange  with u > 1 head-parallel ranks, twice what one token has in the backward pass, for all tokens
/// The parts are tile_buffers.h; this counts them by the formulas, without their padding to cache lines.
#pragma once

#include <cstdint>

#include "runtime/attention/mesh_attention.h"

namespace tessera::runtime {

struct AttentionMemory {
  std::int64_t tile_bytes = 0;      // rows, columns
  std::int64_t staging_bytes = 0;   // for partials, without documents
  std::int64_t exchange_bytes = 0;  // head exchange, delta
  [[nodiscard]] std::int64_t total() const { return tile_bytes + staging_bytes + exchange_bytes; }
};

/// Requires  check_attention_config is ok, 0 <= rank < config.shape.ranks().
[[nodiscard]] AttentionMemory attention_memory(const AttentionConfig& config, int rank);

}  // namespace tessera::runtime
