/// The forward kernel on tensor cores.
#pragma once

#include <cstdint>

#include "kernels/attention/attention_launch.cuh"
#include "kernels/attention/attention_mask.cuh"
#include "kernels/attention/attention_merge.cuh"
#include "kernels/attention/attention_tile.cuh"

namespace tessera::kernels::cuda {

/// One thread block: kWarps * 16 * R queries of one head, R * 16 to a warp, against all keys they may see in
/// tiles of N, two tiles of K and V in flight. Dao 2023, arXiv:2307.08691, algorithm 1; the state that is
/// carried in joins at the end.
template <class T, int D, int kWarps, int R, int N>
struct ForwardTile {
  static constexpr int kRows = kWarps * 16 * R;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kKeyValues = N * D;                               // of one tile of K or V
  static constexpr int kSharedBytes = 2 * (kRows * D + 4 * kKeyValues);  // Q, two stages of K and V
};

template <class T, int D, int kWarps, int R, int N>
__global__ void __launch_bounds__(kWarps * 32)
    forward_tiles(const __grid_constant__ Batch<CudaAttentionForward<T>> batch) {
  using Tile = ForwardTile<T, D, kWarps, R, N>;
  using Value = typename Device<T>::Type;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* const q_tile = reinterpret_cast<Value*>(shared);
  auto* const kv_tiles = q_tile + Tile::kRows * D;

  const CudaAttentionForward<T>& work = batch.work[blockIdx.z];
  const CudaAttentionBlock<T>& block = work.block;
  const int head = static_cast<int>(blockIdx.y);
  const int tiles = (block.q_tokens + Tile::kRows - 1) / Tile::kRows;
  // The last queries first: under a causal mask they see most and should not be left for the end.
  const int first = (tiles - 1 - static_cast<int>(blockIdx.x)) * Tile::kRows;
  if (head >= block.heads || first < 0) return;
  const int width = block.head_dim;

  VisibleTiles<false, N> visible(block.mask, range_of(block.mask.q, first, Tile::kRows, block.q_tokens),
                                 block.kv_tokens);
  int tile = visible.next();
  if (tile < 0) return;

  const std::int64_t kv_head = static_cast<std::int64_t>(head / (block.heads / block.kv_heads)) * width;
  const auto* const q = reinterpret_cast<const Value*>(block.q) + first * block.q_stride + head * width;
  const auto* const k = reinterpret_cast<const Value*>(block.k) + kv_head;
  const auto* const v = reinterpret_cast<const Value*>(block.v) + kv_head;
  const auto load_stage = [&](int stage, int at) {
    Value* const to = kv_tiles + stage * 2 * Tile::kKeyValues;
    const std::int64_t from = static_cast<std::int64_t>(at) * N * block.kv_stride;
    const int valid = block.kv_tokens - at * N;
    load_tile<D, N, Tile::kThreads>(to, k + from, block.kv_stride, valid, width);
    load_tile<D, N, Tile::kThreads>(to + Tile::kKeyValues, v + from, block.kv_stride, valid, width);
  };
  load_tile<D, Tile::kRows, Tile::kThreads>(q_tile, q, block.q_stride, block.q_tokens - first, width);
  load_stage(0, tile);
  commit_copies();

  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * R;
  const int row = first + warp_row;
  const bool warp_has_rows = row < block.q_tokens;
  const float log2_scale = block.scale * kLog2E;

  float o[R][D / 8][4] = {};
  float top[R][2];       // greatest score so far, before scaling
  float sum[R][2] = {};  // of this lane's columns
#pragma unroll
  for (int m = 0; m < R; ++m) top[m][0] = top[m][1] = kNone;

  for (int stage = 0; tile >= 0; stage ^= 1) {
    const int following = visible.next();
    if (following >= 0) load_stage(stage ^ 1, following);
    commit_copies();  // an empty group counts as well: the wait below is for this stage's
    wait_copies<1>();
    __syncthreads();
    const Value* const k_tile = kv_tiles + stage * 2 * Tile::kKeyValues;
    const int column = tile * N;
    Cover what = Cover::kEmpty;
    if (warp_has_rows) {
      what = cover_of<false>(block.mask, range_of(block.mask.q, row, 16 * R, block.q_tokens),
                             range_of(block.mask.k, column, N, block.kv_tokens));
    }
    if (what != Cover::kEmpty) {
      float s[R][N / 8][4];
      multiply_transposed<D, R, N>(s, q_tile, warp_row, k_tile);
      if (what == Cover::kPartial || column + N > block.kv_tokens) {
        std::uint32_t bits[R];
        visible_scores<false, R, N>(bits, block.mask, row, block.q_tokens, column, block.kv_tokens);
#pragma unroll
        for (int m = 0; m < R; ++m)
#pragma unroll
          for (int j = 0; j < N / 8; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e)
              if (!score_bit(bits[m], j, e)) s[m][j][e] = kNone;
      }
#pragma unroll
      for (int m = 0; m < R; ++m) {
#pragma unroll
        for (int x = 0; x < 2; ++x) {
          float now = top[m][x];
#pragma unroll
          for (int j = 0; j < N / 8; ++j) now = fmaxf(now, fmaxf(s[m][j][2 * x], s[m][j][2 * x + 1]));
          now = fmaxf(now, __shfl_xor_sync(0xffffffffU, now, 1));
          now = fmaxf(now, __shfl_xor_sync(0xffffffffU, now, 2));
          const float base = now == kNone ? 0 : now * log2_scale;  // -inf minus -inf is no number
          const float shrink = exp2_approx(top[m][x] * log2_scale - base);
          top[m][x] = now;
          sum[m][x] *= shrink;
#pragma unroll
          for (int d = 0; d < D / 8; ++d) {
            o[m][d][2 * x] *= shrink;
            o[m][d][2 * x + 1] *= shrink;
          }
#pragma unroll
          for (int j = 0; j < N / 8; ++j) {
#pragma unroll
            for (int y = 0; y < 2; ++y) {
              float& score = s[m][j][2 * x + y];
              score = exp2_approx(score * log2_scale - base);
              sum[m][x] += score;
            }
          }
        }
      }
      if (block.dropout.probability > 0) {
        std::uint32_t bits[R];
        kept_scores<false, R, N>(bits, block.dropout, head, block.mask, row, block.q_tokens, column,
                                 block.kv_tokens);
#pragma unroll
        for (int m = 0; m < R; ++m)
#pragma unroll
          for (int j = 0; j < N / 8; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e)
              if (!score_bit(bits[m], j, e)) s[m][j][e] = 0;
      }
      multiply_add_rows<D, R, N, D>(o, s, k_tile + Tile::kKeyValues, 0);
    }
    __syncthreads();  // before the next turn overwrites this stage
    tile = following;
  }

  const float dropout_scale = 1 / (1 - block.dropout.probability);
#pragma unroll
  for (int m = 0; m < R; ++m) {
#pragma unroll
    for (int x = 0; x < 2; ++x) {
      float total = sum[m][x];
      total += __shfl_xor_sync(0xffffffffU, total, 1);
      total += __shfl_xor_sync(0xffffffffU, total, 2);
      const int at = row + 16 * m + warp_lane() / 4 + 8 * x;
      float* const lse = work.lse + static_cast<std::int64_t>(head) * block.q_tokens + at;
      const bool mine = at < block.q_tokens && total != 0;  // NaN is passed on
      const bool writes_lse = mine && warp_lane() % 4 == 0;
      // One lane reads and writes it, so that no lane reads what another has written.
      const float before = __shfl_sync(0xffffffffU, writes_lse ? *lse : kNone, warp_lane() & ~3);
      if (!mine) continue;
      const LseMerge merge(before, top[m][x] * block.scale + logf(total));
      const float add = merge.second * dropout_scale / total;
      if (writes_lse) *lse = merge.lse;
      float* const to = work.o + at * work.o_stride + head * width + warp_lane() % 4 * 2;
#pragma unroll
      for (int d = 0; d < D / 8; ++d) {
        if (d * 8 >= width) break;
        auto* const pair = reinterpret_cast<float2*>(to + d * 8);
        float2 value = merge.first == 0 ? float2{0, 0} : *pair;
        value.x = merge.first * value.x + add * o[m][d][2 * x];
        value.y = merge.first * value.y + add * o[m][d][2 * x + 1];
        *pair = value;
      }
    }
  }
}

}  // namespace tessera::kernels::cuda
