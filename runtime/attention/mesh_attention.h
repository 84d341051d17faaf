/// Exact attention over a sequence that is spread over the ranks of one communicator.
///
/// The executor obeys a TileSchedule: it posts ring transfers in list order, computes blocks in the fixed
/// compute order while transfers run, merges received partials after the row's own blocks. It decides
/// nothing, so a run repeats bit for bit. A row's sum is formed as
///   own blocks in compute order, then the partial received from the inner ring, then from the outer ring.
///
/// Shapes, on rank g with c = tokens of g under the layout (lengths need not divide; c may be 0):
///   q, o, d_o, dq   [batch, c, H, D]     k, v, dk, dv   [batch, c, G, D]     lse   [batch, H, c]
/// with head-parallel u > 1 the exchange to [batch, sum of c over u ranks, H/u, D] and back happens inside.
///
/// Masks     causal, window, documents and any combination of them, on every layout and every shape: each
///           rank knows the positions of the chunks in its tile, and a mask is a function of positions and
///           documents. None is refused. Dropout is keyed by position and global head: the same mask on
///           every shape, layout and pass.
/// Messages  per call and rank: a-1 of Q (backward: Q, dO, lse, delta), b-1 of K with V, a-1 of partial O
///           with lse (backward: dQ), backward b-1 of dK with dV; 2(u-1) of head exchange; all of them once
///           per head piece. Where causality, the window or the call's documents leave blocks without work,
///           chunks travel only to the ranks that use them and only partials with something in them come back
///           (ring_messages.h). Bytes: volume.h.
/// Memory    a rows of Q and partial O, b columns of K, V, allocated once per MeshAttention in the
///           constructor; the backward pass adds dO, dQ per row and dK, dV per column. Own tensors stay in
///           the caller's arrays where they need not travel. Layout in tile_buffers.h.
/// Errors    make() refuses what the shape cannot serve, saying why; a transfer that fails throws
///           CommError (communicator.h), after which the object may only be destroyed.
///
/// The executor's parts: chunk_mask.h and chunk_tokens.h (masks), tile_program.h (peers, tags, order of
/// sums), tile_buffers.h (memory), tile_pass.h (kernels), tile_run.h (the loop), head_exchange.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "kernels/attention/attention.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

struct AttentionConfig {
  AttentionDims dims;
  MeshShape shape;
  TokenLayout layout = TokenLayout::kZigzag;
  bool causal = true;
  std::int32_t window = 0;  // tokens; 0 = unlimited
  float scale = 0;          // 0: 1 / sqrt(head_dim)
  float dropout = 0;        // probability
  int first_head = 0;       // of the model, where dims.heads are a part of its heads: keys dropout
  /// Head-parallel shapes: the rank's heads are exchanged and computed with in so many pieces, one after the
  /// other, so that the exchange of one overlaps with the tile of another. As many bytes, more and smaller
  /// messages.
  int head_pieces = 1;
  ScheduleCosts forward_costs;
  ScheduleCosts backward_costs{2.5, 2, 2, 1, 2, 1, false};
};

/// What changes from call to call.
struct AttentionCall {
  /// Document number of each token of the whole sequence, [batch][tokens] flattened, non-decreasing along a
  /// sequence; empty: one document per sequence. The same on every rank.
  std::span<const std::int32_t> documents;
  /// One dropout key per sequence, [batch]. Empty: no dropout in this call (evaluation), whatever the config.
  std::span<const std::uint64_t> dropout_keys;
};

/// Times of one call on this rank, by the clock given to make(); waits are those not hidden by computation.
struct AttentionTimes {
  double total_s = 0;
  double compute_s = 0;       // kernels, sums, packing
  double exposed_wait_s = 0;  // a block lacks its row or column, nothing is left to compute, head exchange
  /// Sum over transfers of completion, as seen by polling, minus post: hidden and exposed.
  double transfer_s = 0;
};

/// One thing that happened, for traces. Kinds: "block", "add" (a partial received), "delta", "pack",
/// "pack_heads", "unpack_heads"; transfers "receive_row", "receive_column", "send_row", "send_column";
/// waits "wait", "head_exchange". Transfers overlap the others, which do not overlap each other except that
/// an "add" may lie in a "wait". Row and column are slots, 0 where they do not apply.
struct AttentionEvent {
  const char* kind = "";
  int row = 0;
  int column = 0;
  Nanoseconds start{0};
  Nanoseconds end{0};
};

/// Head pieces worth having: the most of 4 and 2 that divide the key/value heads of a head-parallel rank,
/// else 1.
[[nodiscard]] int suggested_head_pieces(const MeshShape& shape, int kv_heads);

/// What make() refuses on `ranks` ranks, kInvalidArgument with the remedy: a mesh of another size, heads or
/// kv_heads that do not divide by shape.heads, dims, window, scale, dropout or costs out of range.
[[nodiscard]] Status check_attention_config(const AttentionConfig& config, int ranks);

class MeshAttention {
 public:
  /// Collective over `comm` (splits it). Refuses what check_attention_config refuses, and configurations
  /// that differ between ranks, with the same Status on every rank. `comm` and `clock` must outlive the
  /// result: waits use comm's deadline, and its other operations in flight are polled between blocks.
  static Result<std::unique_ptr<MeshAttention>> make(Communicator& comm, const AttentionConfig& config,
                                                     const Clock& clock);
  virtual ~MeshAttention() = default;

  /// Writes o and lse.
  virtual void forward(const float* q, const float* k, const float* v, float* o, float* lse,
                       const AttentionCall& call) = 0;
  /// Writes dq, dk, dv from the forward pass's inputs and results.
  virtual void backward(const float* q, const float* k, const float* v, const float* o, const float* lse,
                        const float* d_o, float* dq, float* dk, float* dv, const AttentionCall& call) = 0;

  /// Positions of this rank's tokens.
  [[nodiscard]] virtual std::span<const std::int32_t> positions() const = 0;
  [[nodiscard]] virtual const AttentionTimes& last_times() const = 0;
  /// Non-null: called for each event of each call.
  virtual void set_observer(std::function<void(const AttentionEvent&)> observer) = 0;
};

}  // namespace tessera::runtime
