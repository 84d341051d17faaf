/// Rotary position embedding on the way between the fused projection and attention.
///
/// Legend    T = B * c rows, row t is token t % c of a sequence; H query heads, G key/value heads, d head
///           width. qkv: [T, (H + 2G) d], a row holds its query heads, then its keys, then its values.
///           q: [T, H, d], k and v: [T, G, d], contiguous, as MeshAttention takes them.
/// One pass over memory: rows are copied and rotated a few at a time, while they are in cache.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/device/buffer.h"
#include "planner/spec/model_spec.h"

namespace tessera::runtime {

class Rotary {
 public:
  /// Tables for tokens at these positions of the sequence; angles are formed in double.
  Rotary(const planner::ModelSpec& spec, std::span<const std::int32_t> positions);
  /// Room for up to `capacity` tokens; set_positions fills it.
  Rotary(const planner::ModelSpec& spec, std::int64_t capacity);
  /// The next rows are tokens first, first + 1, ..., first + count - 1. Requires count <= capacity.
  void set_positions(std::int64_t first, std::int64_t count);

  /// Splits qkv into q, k, v and rotates q and k by their positions.
  void unpack(float* q, float* k, float* v, const float* qkv, std::int64_t rows) const;
  /// The reverse for gradients: rotates dq and dk back, in place, and writes all three into d_qkv.
  void pack_gradient(float* d_qkv, float* dq, float* dk, const float* dv, std::int64_t rows) const;

 private:
  void fill(std::span<const std::int32_t> positions);

  int heads_;
  int kv_heads_;
  int head_dim_;
  std::int64_t tokens_ = 0;  // c
  kernels::Buffer<double> inverse_frequencies_;
  kernels::Buffer<float> cos_;  // [c, d/2]
  kernels::Buffer<float> sin_;
  kernels::Buffer<std::int32_t> positions_;  // of set_positions
};

}  // namespace tessera::runtime
