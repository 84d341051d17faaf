/// What the forward pass leaves for the backward pass, and the scratch both share: one allocation.
///
/// Legend    T rows, D hidden, H query heads, G key/value heads, d head width, F intermediate, L layers.
/// Floats    kept:      T * (4D + (2H + 2G) d + 2F + H + 2) per layer
///           recompute: T * (D + H d + H) per layer, and the rest of one layer once
///           both:      T * (4D + (2H + 2G) d + (H + 2G) d + 2F + 1) beside
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device/buffer.h"
#include "planner/spec/model_spec.h"

namespace tessera::runtime {

/// One layer's. `input` is the residual stream before the layer, `middle` after attention.
struct LayerActivations {
  float* input = nullptr;    // [T, D]
  float* normed1 = nullptr;  // [T, D]     input_layernorm
  float* rstd1 = nullptr;    // [T]
  float* q = nullptr;        // [T, H, d]  rotated
  float* k = nullptr;        // [T, G, d]  rotated
  float* v = nullptr;        // [T, G, d]
  float* o = nullptr;        // [T, H, d]
  float* lse = nullptr;      // [B, H, c]
  float* middle = nullptr;   // [T, D]
  float* normed2 = nullptr;  // [T, D]     post_attention_layernorm
  float* rstd2 = nullptr;    // [T]
  float* gate_up = nullptr;  // [T, 2F]
};

/// Overwritten by every layer.
struct LayerScratch {
  float* qkv = nullptr;  // [T, (H + 2G) d]  the fused product; backward: its gradient
  float* update =
      nullptr;           // [T, D]  what a sub-layer adds to the stream; backward: gradient of a norm's output
  float* act = nullptr;  // [T, F]  SwiGLU's output
  // Backward only.
  float* d_stream = nullptr;  // [T, D]  gradient of the residual stream, carried from layer to layer
  float* d_act = nullptr;     // [T, F]
  float* d_o = nullptr;       // [T, H, d]
  float* dq = nullptr;        // [T, H, d]
  float* dk = nullptr;        // [T, G, d]
  float* dv = nullptr;        // [T, G, d]
};

struct Activations {
  /// `recompute`: layers share everything but input, o and lse.
  Activations(const planner::ModelSpec& spec, std::int64_t rows, bool recompute);

  std::vector<LayerActivations> layers;
  LayerScratch scratch;
  float* final_input = nullptr;  // [T, D]  residual stream after the last layer
  float* hidden = nullptr;       // [T, D]  after the final norm
  float* final_rstd = nullptr;   // [T]
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
