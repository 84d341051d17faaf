/// Exact attention over a sequence that is spread over the ranks of one communicator.
///
/// The executor obeys a TileSchedule: it posts ring transfers in list order, computes blocks in the fixed
/// compute order while transfers run, merges received partials after the row's own blocks. It decides
/// nothing, so a run repeats bit for bit. A row's sum is formed as
///   own blocks in compute order, then the partial received from the inner ring, then from the outer ring.
///
/// Shapes, on rank g with c = tokens of g under the layout:
///   q, o, d_o, dq   [batch, c, H, D]     k, v, dk, dv   [batch, c, G, D]     lse   [batch, H, c]
/// with head-parallel u > 1 the exchange to [batch, u*c, H/u, D] and back happens inside.
///
/// Memory    a rows of Q and partial O, b columns of K, V, allocated once per MeshAttention in the
///           constructor; the backward pass adds dO, dQ per row and dK, dV per column.
/// Errors    make() refuses what the shape cannot serve, saying why; a transfer that fails throws
///           CommError (communicator.h).
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
  double compute_s = 0;
  double exposed_wait_s = 0;
  double transfer_s = 0;  // sum over transfers of completion minus post: hidden and exposed
};

/// One thing that happened, for traces: kind is "block", "receive_row", "wait", ...
struct AttentionEvent {
  const char* kind = "";
  int row = 0;
  int column = 0;
  Nanoseconds start{0};
  Nanoseconds end{0};
};

class MeshAttention {
 public:
  /// Collective over `comm` (splits it). comm.size() must equal shape.ranks(); heads must divide by
  /// shape.heads, kv_heads too. Both are kInvalidArgument with the remedy, on every rank alike.
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
