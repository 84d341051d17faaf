/// What the forward pass leaves for the backward pass, and the scratch both share: one allocation.
///
/// Legend    of the rank: T rows of a micro-batch, S of them its own in the residual stream and T' >= T with
///           padding (tensor_parallel.h: S = T' = T on one tensor rank), H query heads, G key/value heads,
///           F intermediate; D hidden, d head width. L layers, n slots.
/// Slots     a pipeline stage holds several micro-batches between their forward and backward passes; each has
///           a slot of kept activations. What is recomputed, and all scratch, exists once.
/// Floats    a layer that keeps:      per slot  2SD + 2T'D + T (2H + 2G) d + 2TF + TH + 2S
///           a layer that recomputes: per slot  SD, and THd + TH unless in full;  the rest of one such layer
///           once scratch:                 T'D + SD + T (3H + 4G) d + 2TF, and T'D with several tensor ranks
///           a stage without head:    2SD per slot;  without embedding: SD per slot;  with head: SD + T'D + S
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device/buffer.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/model_slice.h"
#include "runtime/parallel/tensor_parallel.h"

namespace tessera::runtime {

/// One layer's. `input` is the residual stream before the layer, `middle` after attention.
struct LayerActivations {
  float* input = nullptr;    // [S, D]
  float* normed1 = nullptr;  // [T', D]    input_layernorm
  float* rstd1 = nullptr;    // [S]
  float* q = nullptr;        // [T, H, d]  rotated
  float* k = nullptr;        // [T, G, d]  rotated
  float* v = nullptr;        // [T, G, d]
  float* o = nullptr;        // [T, H, d]
  float* lse = nullptr;      // [B, H, c]
  float* middle = nullptr;   // [S, D]
  float* normed2 = nullptr;  // [T', D]    post_attention_layernorm
  float* rstd2 = nullptr;    // [S]
  float* gate_up = nullptr;  // [T, 2F]
};

/// Overwritten by every layer.
struct LayerScratch {
  float* qkv = nullptr;  // [T, (H + 2G) d]  the fused product; backward: its gradient
  float* update =
      nullptr;  // [T', D]  what a sub-layer adds to the stream; backward: gradient of a norm's output
  float* act = nullptr;  // [T, F]  SwiGLU's output
  // Backward only.
  float* d_stream = nullptr;  // [S, D]  gradient of the residual stream, carried from layer to layer
  float* d_full = nullptr;    // [T', D]  that of all tensor ranks; d_stream itself on one
  float* d_act = nullptr;     // [T, F]
  float* d_o = nullptr;       // [T, H, d]
  float* dq = nullptr;        // [T, H, d]
  float* dk = nullptr;        // [T, G, d]
  float* dv = nullptr;        // [T, G, d]
};

/// One micro-batch in flight. The stream at the edges of a stage lies in buffers of its own, since it is on
/// its way to or from another rank while the stage goes on.
struct ActivationSlot {
  std::vector<LayerActivations> layers;  // of the slice; layers[0].input is what comes in
  float* output = nullptr;               // [S, D]  without a head
  float* d_output = nullptr;             // [S, D]  without a head
  float* d_input = nullptr;              // [S, D]  without an embedding
};

struct Activations {
  /// `spec` is the rank's own (local_spec); `recompute` has one entry per layer of the slice.
  Activations(const planner::ModelSpec& spec, const ModelSlice& slice, const TensorParallel& tensor,
              int slots, const std::vector<planner::Recompute>& recompute);

  std::vector<ActivationSlot> slots;
  LayerScratch scratch;
  float* final_input = nullptr;  // [S, D]  residual stream after the last layer
  float* hidden = nullptr;       // [T', D]  after the final norm
  float* final_rstd = nullptr;   // [S]
  kernels::Buffer<float> memory;
};

/// Hands out pieces of one allocation: first reserve() every slot, then allocate() sets them all.
class Arena {
 public:
  void reserve(float** slot, std::int64_t floats);
  [[nodiscard]] kernels::Buffer<float> allocate() const;

 private:
  struct Piece {
    float** slot;
    std::int64_t offset;
  };
  std::vector<Piece> pieces_;
  std::int64_t floats_ = 0;
};

}  // namespace tessera::runtime
