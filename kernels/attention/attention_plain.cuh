/// The plain path: fp32 arithmetic for any storage, head width and alignment.
///
/// A thread block owns 16 rows, four to a warp, and streams tiles of 32 columns through shared memory as
/// floats. For scores a lane is a column, for sums over columns a lane has every 32nd value of the width; the
/// streamed rows are W + 1 floats apart, so that neither way meets a bank twice.
#pragma once

#include <cstdint>

#include "kernels/attention/attention_launch.cuh"
#include "kernels/attention/attention_mask.cuh"
#include "kernels/attention/attention_merge.cuh"
#include "kernels/device/cuda_vector.cuh"

namespace tessera::kernels::cuda {

template <int W>
struct PlainTile {
  static constexpr int kWarps = 4;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kWarpRows = 4;
  static constexpr int kRows = kWarps * kWarpRows;
  static constexpr int kColumns = 32;
  static constexpr int kStride = W + 1;
  static constexpr int kItems = W / 32;  // values of the width to a lane
  static constexpr int kOwned = kRows * W;
  static constexpr int kStreamed = kColumns * kStride;
  static constexpr int kForwardBytes = 4 * (kOwned + 2 * kStreamed);       // Q; K and V
  static constexpr int kBackwardBytes = 4 * (2 * kOwned + 2 * kStreamed);  // both operands of both sides
};

/// Rows [0, valid) of a tensor as floats, `stride` apart; the rest of rows x W becomes 0.
template <int W, class T>
__device__ inline void load_floats(float* to, int to_stride, const T* from, std::int64_t stride, int rows,
                                   int valid, int width) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * W; i += PlainTile<W>::kThreads) {
    const int row = i / W;
    const int d = i % W;
    to[row * to_stride + d] = row < valid && d < width ? to_float(from[row * stride + d]) : 0;
  }
}

__device__ inline float dot(const float* a, const float* b, int width) {
  float sum = 0;
  for (int d = 0; d < width; ++d) sum += a[d] * b[d];
  return sum;
}
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, offset));
  return x;
}

/// sum[i] += sum over columns j of p_j row_j[lane + 32 i], where lane j has p_j.
template <int W>
__device__ inline void add_rows(float (&sum)[W / 32], float p, const float* rows) {
  for (int j = 0; j < PlainTile<W>::kColumns; ++j) {
    const float weight = __shfl_sync(0xffffffffU, p, j);
#pragma unroll
    for (int i = 0; i < W / 32; ++i) {
      sum[i] += weight * rows[j * PlainTile<W>::kStride + warp_lane() + 32 * i];
    }
  }
}

template <class T, int W>
__global__ void __launch_bounds__(PlainTile<W>::kThreads)
    plain_forward(const __grid_constant__ Batch<CudaAttentionForward<T>> batch) {
  using Tile = PlainTile<W>;
  using Value = typename Device<T>::Type;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* const q_rows = reinterpret_cast<float*>(shared);
  float* const k_rows = q_rows + Tile::kOwned;
  float* const v_rows = k_rows + Tile::kStreamed;

  const CudaAttentionForward<T>& work = batch.work[blockIdx.z];
  const CudaAttentionBlock<T>& block = work.block;
  const int head = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * Tile::kRows;
  if (head >= block.heads || first >= block.q_tokens) return;
  const int width = block.head_dim;
  const std::int64_t kv_head = static_cast<std::int64_t>(head / (block.heads / block.kv_heads)) * width;
  const auto* const k = reinterpret_cast<const Value*>(block.k) + kv_head;
  const auto* const v = reinterpret_cast<const Value*>(block.v) + kv_head;
  load_floats<W>(q_rows, W, reinterpret_cast<const Value*>(block.q) + first * block.q_stride + head * width,
                 block.q_stride, Tile::kRows, block.q_tokens - first, width);

  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows;
  float o[Tile::kWarpRows][Tile::kItems] = {};
  float top[Tile::kWarpRows];
  float sum[Tile::kWarpRows] = {};
  for (float& x : top) x = kNone;

  VisibleTiles<false, Tile::kColumns> visible(
      block.mask, range_of(block.mask.q, first, Tile::kRows, block.q_tokens), block.kv_tokens);
  for (int tile = visible.next(); tile >= 0; tile = visible.next()) {
    const int column = tile * Tile::kColumns;
    const std::int64_t from = column * block.kv_stride;
    __syncthreads();
    load_floats<W>(k_rows, Tile::kStride, k + from, block.kv_stride, Tile::kColumns, block.kv_tokens - column,
                   width);
    load_floats<W>(v_rows, Tile::kStride, v + from, block.kv_stride, Tile::kColumns, block.kv_tokens - column,
                   width);
    __syncthreads();
    const int key = column + warp_lane();
    const Coordinates at_key = coordinates(block.mask.k, key, block.kv_tokens);
#pragma unroll
    for (int r = 0; r < Tile::kWarpRows; ++r) {
      const int row = first + warp_row + r;
      if (row >= block.q_tokens) break;
      const Coordinates at_query = coordinates(block.mask.q, row, block.q_tokens);
      const bool seen = key < block.kv_tokens && sees(block.mask, at_query, at_key);
      const float score =
          seen ? block.scale * dot(q_rows + (warp_row + r) * W, k_rows + warp_lane() * Tile::kStride, width)
               : kNone;
      const float now = fmaxf(top[r], warp_max(score));
      if (now == kNone) continue;
      float p = expf(score - now);
      const float shrink = expf(top[r] - now);
      top[r] = now;
      sum[r] = sum[r] * shrink + warp_sum(p);
      if (block.dropout.probability > 0) {
        const std::uint32_t seed =
            dropout_row_seed(block.dropout.key, block.dropout.first_head + head, at_query.position);
        if (!dropout_keep(seed, at_key.position, dropout_threshold(block.dropout.probability))) p = 0;
      }
#pragma unroll
      for (float& x : o[r]) x *= shrink;
      add_rows<W>(o[r], p, v_rows);
    }
  }

  const float dropout_scale = 1 / (1 - block.dropout.probability);
#pragma unroll
  for (int r = 0; r < Tile::kWarpRows; ++r) {
    const int row = first + warp_row + r;
    if (row >= block.q_tokens || sum[r] == 0) continue;
    float* const lse = work.lse + static_cast<std::int64_t>(head) * block.q_tokens + row;
    const float before = __shfl_sync(0xffffffffU, warp_lane() == 0 ? *lse : 0, 0);
    const LseMerge merge(before, top[r] + logf(sum[r]));
    const float add = merge.second * dropout_scale / sum[r];
    if (warp_lane() == 0) *lse = merge.lse;
    float* const to = work.o + row * work.o_stride + head * width;
#pragma unroll
    for (int i = 0; i < Tile::kItems; ++i) {
      const int d = warp_lane() + 32 * i;
      if (d >= width) break;
      const float old = merge.first == 0 ? 0 : merge.first * to[d];
      to[d] = old + add * o[r][i];
    }
  }
}

/// dk and dv of 16 keys of one key/value head (kKeys), or dq of 16 queries of one head.
template <class T, bool kKeys, int W>
__global__ void __launch_bounds__(PlainTile<W>::kThreads)
    plain_backward(const __grid_constant__ Batch<CudaAttentionBackward<T>> batch) {
  using Tile = PlainTile<W>;
  using Value = typename Device<T>::Type;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* const own1 = reinterpret_cast<float*>(shared);  // K, or Q
  float* const own2 = own1 + Tile::kOwned;              // V, or dO
  float* const far1 = own2 + Tile::kOwned;              // Q, or K
  float* const far2 = far1 + Tile::kStreamed;           // dO, or V

  const CudaAttentionBackward<T>& work = batch.work[blockIdx.z];
  const CudaAttentionBlock<T>& block = work.block;
  const int own_head = static_cast<int>(blockIdx.y);
  const int rows = kKeys ? block.kv_tokens : block.q_tokens;
  const int columns = kKeys ? block.q_tokens : block.kv_tokens;
  const int first = static_cast<int>(blockIdx.x) * Tile::kRows;
  if (own_head >= (kKeys ? block.kv_heads : block.heads) || first >= rows) return;
  const int width = block.head_dim;
  const int group = block.heads / block.kv_heads;
  const auto* const q = reinterpret_cast<const Value*>(block.q);
  const auto* const k = reinterpret_cast<const Value*>(block.k);
  const auto* const v = reinterpret_cast<const Value*>(block.v);
  const auto* const d_o = reinterpret_cast<const Value*>(work.d_o);
  const std::int64_t own_stride1 = kKeys ? block.kv_stride : block.q_stride;
  const std::int64_t own_stride2 = kKeys ? block.kv_stride : work.d_o_stride;
  const std::int64_t far_stride1 = kKeys ? block.q_stride : block.kv_stride;
  const std::int64_t far_stride2 = kKeys ? work.d_o_stride : block.kv_stride;
  const int own_at = own_head * width;
  load_floats<W>(own1, W, (kKeys ? k : q) + first * own_stride1 + own_at, own_stride1, Tile::kRows,
                 rows - first, width);
  load_floats<W>(own2, W, (kKeys ? v : d_o) + first * own_stride2 + own_at, own_stride2, Tile::kRows,
                 rows - first, width);

  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows;
  const float dropout_scale = 1 / (1 - block.dropout.probability);
  float sum1[Tile::kWarpRows][Tile::kItems] = {};              // dk or dq, before scaling
  float sum2[kKeys ? Tile::kWarpRows : 1][Tile::kItems] = {};  // dv
  const CudaTokens& own_side = kKeys ? block.mask.k : block.mask.q;
  const CudaTokens& far_side = kKeys ? block.mask.q : block.mask.k;
  VisibleTiles<kKeys, Tile::kColumns> visible(block.mask, range_of(own_side, first, Tile::kRows, rows),
                                              columns);
  const int first_head = kKeys ? own_head * group : own_head;
  const int end_head = kKeys ? first_head + group : first_head + 1;
  for (int head = first_head; head < end_head; ++head) {
    const int far_at = (kKeys ? head : head / group) * width;
    const std::int64_t stats = static_cast<std::int64_t>(head) * block.q_tokens;
    visible.restart();
    for (int tile = visible.next(); tile >= 0; tile = visible.next()) {
      const int column = tile * Tile::kColumns;
      const int valid = columns - column;
      __syncthreads();
      load_floats<W>(far1, Tile::kStride, (kKeys ? q : k) + column * far_stride1 + far_at, far_stride1,
                     Tile::kColumns, valid, width);
      load_floats<W>(far2, Tile::kStride, (kKeys ? d_o : v) + column * far_stride2 + far_at, far_stride2,
                     Tile::kColumns, valid, width);
      __syncthreads();
      const int far = column + warp_lane();
      const Coordinates at_far = coordinates(far_side, far, columns);
#pragma unroll
      for (int r = 0; r < Tile::kWarpRows; ++r) {
        const int row = first + warp_row + r;
        if (row >= rows) break;
        const Coordinates at_row = coordinates(own_side, row, rows);
        const Coordinates& at_query = kKeys ? at_far : at_row;
        const Coordinates& at_key = kKeys ? at_row : at_far;
        float p = 0;
        float ds = 0;
        if (far < columns && sees(block.mask, at_query, at_key)) {
          const float* const mine1 = own1 + (warp_row + r) * W;
          const float* const mine2 = own2 + (warp_row + r) * W;
          const std::int64_t stat = stats + (kKeys ? far : row);
          p = expf(block.scale * dot(mine1, far1 + warp_lane() * Tile::kStride, width) - work.lse[stat]);
          float keep = 1;
          if (block.dropout.probability > 0) {
            const std::uint32_t seed =
                dropout_row_seed(block.dropout.key, block.dropout.first_head + head, at_query.position);
            const std::uint32_t threshold = dropout_threshold(block.dropout.probability);
            keep = dropout_keep(seed, at_key.position, threshold) ? dropout_scale : 0;
          }
          const float dp = keep * dot(mine2, far2 + warp_lane() * Tile::kStride, width);
          ds = p * (dp - work.delta[stat]);
          p *= keep;
        }
        __syncwarp();
        add_rows<W>(sum1[r], ds, far1);
        if constexpr (kKeys) add_rows<W>(sum2[r], p, far2);
      }
    }
  }

  float* const to1 = kKeys ? work.dk : work.dq;
  const std::int64_t to_stride = kKeys ? work.dkv_stride : work.dq_stride;
#pragma unroll
  for (int r = 0; r < Tile::kWarpRows; ++r) {
    const int row = first + warp_row + r;
    if (row >= rows) break;
#pragma unroll
    for (int i = 0; i < Tile::kItems; ++i) {
      const int d = warp_lane() + 32 * i;
      if (d >= width) break;
      to1[row * to_stride + own_at + d] += block.scale * sum1[r][i];
      if constexpr (kKeys) work.dv[row * to_stride + own_at + d] += sum2[r][i];
    }
  }
}

template <class T, int W>
constexpr AttentionKernel<CudaAttentionForward<T>> plain_forward_kernel() {
  using Tile = PlainTile<W>;
  return {W == 64 ? "plain, D <= 64" : "plain, D <= 256",
          W,
          Tile::kForwardBytes,
          Tile::kRows,
          Tile::kThreads,
          plain_forward<T, W>};
}
template <class T, bool kKeys, int W>
constexpr AttentionKernel<CudaAttentionBackward<T>> plain_backward_kernel() {
  using Tile = PlainTile<W>;
  return {W == 64 ? "plain, D <= 64" : "plain, D <= 256",
          W,
          Tile::kBackwardBytes,
          Tile::kRows,
          Tile::kThreads,
          plain_backward<T, kKeys, W>};
}

}  // namespace tessera::kernels::cuda
