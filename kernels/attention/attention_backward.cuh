/// The backward kernels on tensor cores. Dao 2023, arXiv:2307.08691, algorithm 2, as two kernels of one
/// shape: a thread block owns rows and streams columns, so that each gradient has one writer and a fixed
/// order.
///
///             rows (owned)   columns (streamed)   s = own1 far1^T   dp = own2 far2^T   sums
///   kKeys     K, V           Q, dO of each head   S^T               dP^T               dV += P^T dO, dK +=
///   dS^T Q queries   Q, dO          K, V                 S                 dP                 dQ += dS K
///
/// P is recomputed from the final lse: p = exp(s - lse), dS = P (dP - delta).
#pragma once

#include <cstdint>

#include "kernels/attention/attention_launch.cuh"
#include "kernels/attention/attention_mask.cuh"
#include "kernels/attention/attention_tile.cuh"

namespace tessera::kernels::cuda {

/// kWarps warps in kSplit parts: a warp has 16 R rows and D / kSplit columns of their gradients. Warps of
/// unequal parts compute the same scores, which is what keeps dk and dv of D = 256 in registers.
template <class T, bool kKeys, int D, int kWarps, int R, int kSplit, int N>
struct BackwardTile {
  static constexpr int kRows = kWarps / kSplit * 16 * R;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kPart = D / kSplit;
  static constexpr int kStage = 2 * N * D;  // far1 and far2
  static constexpr int kStatistics =
      kKeys ? 2 * N : 0;  // lse and delta of the columns, where those are queries
  // own1, own2, two stages
  static constexpr int kSharedBytes = 2 * (2 * kRows * D + 2 * kStage) + 4 * 2 * kStatistics;
};

template <class T, bool kKeys, int D, int kWarps, int R, int kSplit, int N>
__global__ void __launch_bounds__(kWarps * 32)
    backward_tiles(const __grid_constant__ Batch<CudaAttentionBackward<T>> batch) {
  using Tile = BackwardTile<T, kKeys, D, kWarps, R, kSplit, N>;
  using Value = typename Device<T>::Type;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* const own1 = reinterpret_cast<Value*>(shared);
  Value* const own2 = own1 + Tile::kRows * D;
  Value* const stages = own2 + Tile::kRows * D;
  auto* const statistics = reinterpret_cast<float*>(stages + 2 * Tile::kStage);

  const CudaAttentionBackward<T>& work = batch.work[blockIdx.z];
  const CudaAttentionBlock<T>& block = work.block;
  const int own_head = static_cast<int>(blockIdx.y);
  const int rows = kKeys ? block.kv_tokens : block.q_tokens;
  const int columns = kKeys ? block.q_tokens : block.kv_tokens;
  const int tiles = (rows + Tile::kRows - 1) / Tile::kRows;
  // What sees most under a causal mask comes first: the first keys, the last queries.
  const int own_tile = kKeys ? static_cast<int>(blockIdx.x) : tiles - 1 - static_cast<int>(blockIdx.x);
  const int first = own_tile * Tile::kRows;
  if (own_head >= (kKeys ? block.kv_heads : block.heads) || own_tile < 0 || own_tile >= tiles) return;
  const int width = block.head_dim;
  const int group = block.heads / block.kv_heads;
  const CudaTokens& own_side = kKeys ? block.mask.k : block.mask.q;
  const CudaTokens& far_side = kKeys ? block.mask.q : block.mask.k;

  // The stream: every visible tile of every query head that shares the rows.
  VisibleTiles<kKeys, N> visible(block.mask, range_of(own_side, first, Tile::kRows, rows), columns);
  const int end_head = kKeys ? (own_head + 1) * group : own_head + 1;
  struct Step {
    int head;
    int tile;  // -1: past the end
  };
  const auto next = [&](Step at) {
    at.tile = visible.next();
    if (at.tile < 0 && at.head + 1 < end_head) {
      ++at.head;
      visible.restart();
      at.tile = visible.next();
    }
    return at;
  };
  Step step = next({kKeys ? own_head * group : own_head, -1});
  if (step.tile < 0) return;

  const auto* const q = reinterpret_cast<const Value*>(block.q);
  const auto* const k = reinterpret_cast<const Value*>(block.k);
  const auto* const v = reinterpret_cast<const Value*>(block.v);
  const auto* const d_o = reinterpret_cast<const Value*>(work.d_o);
  const std::int64_t own_stride2 = kKeys ? block.kv_stride : work.d_o_stride;
  const std::int64_t own_stride1 = kKeys ? block.kv_stride : block.q_stride;
  const std::int64_t far_stride1 = kKeys ? block.q_stride : block.kv_stride;
  const std::int64_t far_stride2 = kKeys ? work.d_o_stride : block.kv_stride;
  const int own_at = own_head * width;
  const auto load_stage = [&](int stage, Step at) {
    Value* const to = stages + stage * Tile::kStage;
    const int far_at = (kKeys ? at.head : at.head / group) * width;
    const std::int64_t column = static_cast<std::int64_t>(at.tile) * N;
    const int valid = columns - at.tile * N;
    load_tile<D, N, Tile::kThreads>(to, (kKeys ? q : k) + column * far_stride1 + far_at, far_stride1, valid,
                                    width);
    load_tile<D, N, Tile::kThreads>(to + N * D, (kKeys ? d_o : v) + column * far_stride2 + far_at,
                                    far_stride2, valid, width);
    if constexpr (kKeys) {
      const std::int64_t stat = static_cast<std::int64_t>(at.head) * columns + column;
      for (int i = static_cast<int>(threadIdx.x); i < 2 * N; i += Tile::kThreads) {
        const bool inside = i % N < valid;
        const float* const from = i < N ? work.lse : work.delta;
        copy4_async(statistics + stage * Tile::kStatistics + i, from + (inside ? stat + i % N : 0),
                    inside ? 4 : 0);
      }
    }
  };
  load_tile<D, Tile::kRows, Tile::kThreads>(own1, (kKeys ? k : q) + first * own_stride1 + own_at, own_stride1,
                                            rows - first, width);
  load_tile<D, Tile::kRows, Tile::kThreads>(own2, (kKeys ? v : d_o) + first * own_stride2 + own_at,
                                            own_stride2, rows - first, width);
  load_stage(0, step);
  commit_copies();

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / kSplit * 16 * R;
  const int part = warp % kSplit * Tile::kPart;
  const int row = first + warp_row;
  const bool warp_has_rows = row < rows;
  const float log2_scale = block.scale * kLog2E;
  const float dropout_scale = 1 / (1 - block.dropout.probability);

  float sum1[R][Tile::kPart / 8][4] = {};              // dk or dq, before scaling
  float sum2[kKeys ? R : 1][Tile::kPart / 8][4] = {};  // dv
  // lse in powers of two, and delta, of the queries that are rows.
  float row_lse[R][2];
  float row_delta[R][2];
  if constexpr (!kKeys) {
#pragma unroll
    for (int m = 0; m < R; ++m) {
#pragma unroll
      for (int x = 0; x < 2; ++x) {
        const int at = min(row + 16 * m + warp_lane() / 4 + 8 * x, rows - 1);
        const std::int64_t stat = static_cast<std::int64_t>(own_head) * rows + at;
        row_lse[m][x] = work.lse[stat] * kLog2E;
        row_delta[m][x] = work.delta[stat];
      }
    }
  }

  for (int stage = 0; step.tile >= 0; stage ^= 1) {
    const Step following = next(step);
    if (following.tile >= 0) load_stage(stage ^ 1, following);
    commit_copies();  // an empty group counts as well: the wait below is for this stage's
    wait_copies<1>();
    __syncthreads();
    const Value* const far1 = stages + stage * Tile::kStage;
    const Value* const far2 = far1 + N * D;
    const int column = step.tile * N;
    Cover what = Cover::kEmpty;
    if (warp_has_rows) {
      what = cover_of<kKeys>(block.mask, range_of(own_side, row, 16 * R, rows),
                             range_of(far_side, column, N, columns));
    }
    if (what != Cover::kEmpty) {
      std::uint32_t seen[R];
      std::uint32_t kept[R];
#pragma unroll
      for (int m = 0; m < R; ++m) seen[m] = kept[m] = 0xffffffffU;
      if (what == Cover::kPartial || column + N > columns) {
        visible_scores<kKeys, R, N>(seen, block.mask, row, rows, column, columns);
      }
      if (block.dropout.probability > 0) {
        kept_scores<kKeys, R, N>(kept, block.dropout, step.head, block.mask, row, rows, column, columns);
      }
      float p[R][N / 8][4];
      multiply_transposed<D, R, N>(p, own1, warp_row, far1);
      float dp[R][N / 8][4];
      multiply_transposed<D, R, N>(dp, own2, warp_row, far2);
#pragma unroll
      for (int j = 0; j < N / 8; ++j) {
#pragma unroll
        for (int y = 0; y < 2; ++y) {
          float column_lse = 0;
          float column_delta = 0;
          if constexpr (kKeys) {
            const float* const at = statistics + stage * Tile::kStatistics + 8 * j + warp_lane() % 4 * 2 + y;
            column_lse = at[0] * kLog2E;
            column_delta = at[N];
          }
#pragma unroll
          for (int m = 0; m < R; ++m) {
#pragma unroll
            for (int x = 0; x < 2; ++x) {
              const int e = 2 * x + y;
              const float lse = kKeys ? column_lse : row_lse[m][x];
              const float delta = kKeys ? column_delta : row_delta[m][x];
              const float keep = score_bit(kept[m], j, e) ? dropout_scale : 0;
              float& prob = p[m][j][e];
              prob = score_bit(seen[m], j, e) ? exp2_approx(prob * log2_scale - lse) : 0;
              dp[m][j][e] = prob * (keep * dp[m][j][e] - delta);
              if (keep == 0) prob = 0;
            }
          }
        }
      }
      if constexpr (kKeys) multiply_add_rows<D, R, N, Tile::kPart>(sum2, p, far2, part);
      multiply_add_rows<D, R, N, Tile::kPart>(sum1, dp, far1, part);
    }
    __syncthreads();  // before the next turn overwrites this stage
    step = following;
  }

  float* const to1 = kKeys ? work.dk : work.dq;
  const std::int64_t to_stride = kKeys ? work.dkv_stride : work.dq_stride;
  const auto add_pair = [](float* to, float factor, float low, float high) {
    auto* const pair = reinterpret_cast<float2*>(to);
    float2 value = *pair;
    value.x += factor * low;
    value.y += factor * high;
    *pair = value;
  };
#pragma unroll
  for (int m = 0; m < R; ++m) {
#pragma unroll
    for (int x = 0; x < 2; ++x) {
      const int at = row + 16 * m + warp_lane() / 4 + 8 * x;
      if (at >= rows) continue;
      const std::int64_t to = at * to_stride + own_at + part + warp_lane() % 4 * 2;
#pragma unroll
      for (int d = 0; d < Tile::kPart / 8; ++d) {
        if (part + d * 8 >= width) break;
        add_pair(to1 + to + d * 8, block.scale, sum1[m][d][2 * x], sum1[m][d][2 * x + 1]);
        if constexpr (kKeys) {
          add_pair(work.dv + to + d * 8, dropout_scale, sum2[m][d][2 * x], sum2[m][d][2 * x + 1]);
        }
      }
    }
  }
}

}  // namespace tessera::kernels::cuda
