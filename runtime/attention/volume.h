/// Bytes a rank sends (= receives) for one attention call: the closed forms the counters are held against.
///
/// Per super-rank with chunks of c tokens (u * c_rank), B sequences, fp32 on the wire (e = 4 bytes):
///   A  = e * B * c * (H/u) * D      one Q chunk          KV chunk = 2 A / r,  r = H / G
///   L  = e * B * c * (H/u)          one row of lse or delta
///   forward   (a-1)(2A + L)        + (b-1) 2A/r          [+ head exchange of Q, K, V in; O, lse out]
///   backward  (a-1)(3A + 2L)       + (b-1) 4A/r          [+ head exchange of Q, K, V, dO, lse, delta in;
///                                                           dQ, dK, dV out]
/// Requires  heads and kv_heads divide by u.
/// Exact when every chunk has c tokens and sees every other; attention_volume counts ragged chunks and masks
/// too, message by message: a chunk travels only where it is used (ring_messages.h).
///
/// Head exchange. The u ranks s*u .. s*u + u - 1 of super-rank s each hold their own tokens with all heads
/// and want all of the super-rank's tokens with H/u heads: "in", a rank sends each of its u-1 peers its own
/// tokens of the peer's heads; "out", it sends each peer the peer's tokens of its own heads.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/token_layout.h"

namespace tessera::runtime {

struct AttentionDims {
  std::int64_t batch = 1;   // sequences
  std::int64_t tokens = 0;  // per sequence, over all ranks
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
};

/// Bytes sent and received by one rank, per kind. What it sends and what it receives differ when chunks are
/// ragged, by a few tokens, and where a mask lets one chunk travel further than another.
struct AttentionVolume {
  std::int64_t query_sent = 0, query_received = 0;
  std::int64_t key_value_sent = 0, key_value_received = 0;
  std::int64_t partial_sent = 0, partial_received = 0;  // O and lse forward, dQ backward
  std::int64_t key_value_grad_sent = 0, key_value_grad_received = 0;
  std::int64_t head_exchange_sent = 0, head_exchange_received = 0;
  [[nodiscard]] std::int64_t sent() const;
  [[nodiscard]] std::int64_t received() const;
  AttentionVolume& operator+=(const AttentionVolume& other);
};

/// `mask` over the super-ranks' chunks; without one every chunk sees every other.
[[nodiscard]] AttentionVolume attention_volume(Pass pass, const MeshShape& shape, TokenLayout layout,
                                               const AttentionDims& dims, const ChunkMask& mask, int rank);
[[nodiscard]] AttentionVolume attention_volume(Pass pass, const MeshShape& shape, TokenLayout layout,
                                               const AttentionDims& dims, int rank);

/// What one rank sends, by where it goes: nodes are `ranks_per_node` consecutive ranks.
struct NodeVolume {
  std::int64_t inside = 0;
  std::int64_t across = 0;
  std::int64_t exchange_inside = 0;  // of these, the head exchange
  std::int64_t exchange_across = 0;
};
/// Of every rank; O(sum over rings of their size squared).
[[nodiscard]] std::vector<NodeVolume> node_volumes(Pass pass, const MeshShape& shape, TokenLayout layout,
                                                   const AttentionDims& dims, const ChunkMask& mask,
                                                   int ranks_per_node);

/// Bytes that leave nodes of `ranks_per_node` consecutive ranks, summed over all ranks.
[[nodiscard]] std::int64_t node_crossing_bytes(Pass pass, const MeshShape& shape, TokenLayout layout,
                                               const AttentionDims& dims, int ranks_per_node);

/// Without a mask: 1 - (forward + backward of shape) / (the same of the ring on as many ranks), over all
/// ranks; 0 on one rank. The token layout does not enter: the sum over ranks depends on the sequence length
/// alone.
[[nodiscard]] double reduction_against_ring(const MeshShape& shape, const AttentionDims& dims);

}  // namespace tessera::runtime
