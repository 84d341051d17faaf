/// The tensor-core product, compute capability 8.0 and up. Included by one .cu file per input type.
///
/// Legend   kM x kN the block's part of D, kWarpM x kWarpN a warp's, kGemmDepth values of K in a stage.
///   A stage holds A and B as they lie in memory, rows cut to the tile: [kM][depth] or, transposed,
///   [depth][kM]; [depth][kN] or, transposed, [kN][depth]. ldmatrix, transposing or not, makes the same
///   fragments of both.
#pragma once

#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_mma.cuh"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/gemm/gemm_mma.h"
#include "kernels/gemm/gemm_tile.h"

namespace tessera::kernels::internal {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

template <class T>
struct GemmArguments {
  const T* a;
  const T* b;
  const void* c;
  void* d;
  const void* bias;
  std::int64_t lda, ldb, ldc, ldd;
  int m, n, k;
  float alpha, beta;
  bool float_output;
  bool wide_output;  // C and D may be accessed in 16 bytes
};

/// Of a stored matrix: rows x columns from (row, column) on; what lies outside reads as 0.
template <class T>
struct Window {
  const T* matrix;
  std::int64_t ld;
  int rows, columns;
};

/// Rows x Length values of shared memory in swizzled 16-byte chunks.
template <class T, int Rows, int Length>
struct SharedTile {
  static constexpr int kValues = Rows * Length;
  static constexpr int kChunks = Length / 8;

  __device__ static T* at(T* tile, int row, int column) {
    return tile + row * Length + swizzled_chunk(row, column / 8, kChunks) * 8;
  }

  /// All threads of the block fill it from (row, column) of the window on. kWide: asynchronously.
  template <int kThreads, bool kWide>
  __device__ static void load(T* tile, const Window<T>& from, int row, int column) {
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < Rows * kChunks; i += kThreads) {
      const int r = i / kChunks;
      const int c = i % kChunks * 8;
      const int left = row + r < from.rows ? min(max(from.columns - column - c, 0), 8) : 0;
      const T* source = left > 0 ? from.matrix + (row + r) * from.ld + column + c : from.matrix;
      T* to = at(tile, r, c);
      if constexpr (kWide) {
        copy16_async(to, source, left * static_cast<int>(sizeof(T)));
      } else {
        Pack<T, 8> values{};
        for (int v = 0; v < left; ++v) values.value[v] = source[v];
        *reinterpret_cast<Pack<T, 8>*>(to) = values;
      }
    }
  }
};

/// Eight values of a row of C or D, of which `count` lie in the matrix.
template <class O>
__device__ void load_eight(float (&to)[8], const O* from, int count, bool wide) {
  if (wide && count == 8) {
    constexpr int W = kWide<O>;
#pragma unroll
    for (int part = 0; part < 8; part += W) {
      const auto pack = *reinterpret_cast<const Pack<O, W>*>(from + part);
#pragma unroll
      for (int v = 0; v < W; ++v) to[part + v] = to_float(pack.value[v]);
    }
  } else {
#pragma unroll
    for (int v = 0; v < 8; ++v) to[v] = v < count ? to_float(from[v]) : 0.0F;
  }
}
template <class O>
__device__ void store_eight(O* to, const float (&from)[8], int count, bool wide) {
  if (wide && count == 8) {
    constexpr int W = kWide<O>;
#pragma unroll
    for (int part = 0; part < 8; part += W) {
      Pack<O, W> pack;
#pragma unroll
      for (int v = 0; v < W; ++v) from_float(pack.value[v], from[part + v]);
      *reinterpret_cast<Pack<O, W>*>(to + part) = pack;
    }
  } else {
#pragma unroll
    for (int v = 0; v < 8; ++v) {
      if (v < count) from_float(to[v], from[v]);
    }
  }
}

/// alpha * sum + beta * C + bias for eight values of row `row` from column `column` on.
template <class O, class T>
__device__ void finish_eight(float (&x)[8], const GemmArguments<T>& g, std::int64_t row, int column) {
  const int count = min(g.n - column, 8);
#pragma unroll
  for (int v = 0; v < 8; ++v) x[v] *= g.alpha;
  float other[8];
  if (g.beta != 0) {
    load_eight(other, static_cast<const O*>(g.c) + row * g.ldc + column, count, g.wide_output);
#pragma unroll
    for (int v = 0; v < 8; ++v) x[v] += g.beta * other[v];
  }
  if (g.bias != nullptr) {
    load_eight(other, static_cast<const O*>(g.bias) + column, count, false);
#pragma unroll
    for (int v = 0; v < 8; ++v) x[v] += other[v];
  }
  store_eight(static_cast<O*>(g.d) + row * g.ldd + column, x, count, g.wide_output);
}

template <class T, class Tile, bool kTransposeA, bool kTransposeB, bool kWide>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocksPerSm) gemm_kernel(const GemmArguments<T> g) {
  using TileA = std::conditional_t<kTransposeA, SharedTile<T, kGemmDepth, Tile::kM>,
                                   SharedTile<T, Tile::kM, kGemmDepth>>;
  using TileB = std::conditional_t<kTransposeB, SharedTile<T, Tile::kN, kGemmDepth>,
                                   SharedTile<T, kGemmDepth, Tile::kN>>;
  constexpr int kStages = Tile::kStages;
  constexpr int kPartsM = Tile::kWarpM / 16;
  constexpr int kPartsN = Tile::kWarpN / 8;
  extern __shared__ __align__(128) unsigned char shared[];
  T* const stages = reinterpret_cast<T*>(shared);
  const auto stage_a = [&](int stage) { return stages + stage * (TileA::kValues + TileB::kValues); };
  const auto stage_b = [&](int stage) { return stage_a(stage) + TileA::kValues; };

  // Eight rows of tiles are worked on together, column by column, so that what they read of A and B stays in
  // L2.
  constexpr int kTogether = 8;
  const int tiles_m = (g.m + Tile::kM - 1) / Tile::kM;
  const int tiles_n = (g.n + Tile::kN - 1) / Tile::kN;
  const int group = static_cast<int>(blockIdx.x) / (kTogether * tiles_n);
  const int in_group = static_cast<int>(blockIdx.x) % (kTogether * tiles_n);
  const int group_rows = min(tiles_m - group * kTogether, kTogether);
  const int m0 = (group * kTogether + in_group % group_rows) * Tile::kM;
  const int n0 = in_group / group_rows * Tile::kN;

  const Window<T> window_a{g.a, g.lda, kTransposeA ? g.k : g.m, kTransposeA ? g.m : g.k};
  const Window<T> window_b{g.b, g.ldb, kTransposeB ? g.n : g.k, kTransposeB ? g.k : g.n};
  const auto load = [&](int stage, int k0) {
    TileA::template load<Tile::kThreads, kWide>(stage_a(stage), window_a, kTransposeA ? k0 : m0,
                                                kTransposeA ? m0 : k0);
    TileB::template load<Tile::kThreads, kWide>(stage_b(stage), window_b, kTransposeB ? n0 : k0,
                                                kTransposeB ? k0 : n0);
  };

  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWarpM;
  const int warp_n = warp % Tile::kWarpsN * Tile::kWarpN;
  const int low = lane % 8;            // of the row that this lane points ldmatrix at, in its matrix
  const int first = lane / 8 % 2 * 8;  // matrices 1 and 3 are the second along the first direction,
  const int second = lane / 16 * 8;    // 2 and 3 along the other
  float sum[kPartsM][kPartsN][4] = {};
  const int steps = (g.k + kGemmDepth - 1) / kGemmDepth;
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) load(s, s * kGemmDepth);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage of this step is whole, and all warps have left that of the step before
    const int ahead = step + kStages - 1;
    if (ahead < steps) load(ahead % kStages, ahead * kGemmDepth);
    commit_copies();
    T* const a_tile = stage_a(step % kStages);
    T* const b_tile = stage_b(step % kStages);
#pragma unroll
    for (int k = 0; k < kGemmDepth; k += 16) {
      std::uint32_t a[kPartsM][4];
#pragma unroll
      for (int i = 0; i < kPartsM; ++i) {  // quarters: rows, then K
        const int m = warp_m + i * 16;
        if constexpr (kTransposeA) {
          load_matrices_transposed(a[i], TileA::at(a_tile, k + second + low, m + first));
        } else {
          load_matrices(a[i], TileA::at(a_tile, m + first + low, k + second));
        }
      }
#pragma unroll
      for (int j = 0; j < kPartsN; j += 2) {  // quarters: K, then columns
        const int n = warp_n + j * 8;
        std::uint32_t b[4];
        if constexpr (kTransposeB) {
          load_matrices(b, TileB::at(b_tile, n + second + low, k + first));
        } else {
          load_matrices_transposed(b, TileB::at(b_tile, k + first + low, n + second));
        }
#pragma unroll
        for (int i = 0; i < kPartsM; ++i) {
          multiply_add<T>(sum[i][j], a[i], b[0], b[1]);
          multiply_add<T>(sum[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // Sums go through shared memory, 16 rows of a warp at a time, so that rows are written in whole 16-byte
  // accesses.
  constexpr int kRow = Tile::kWarpN + 8;
  static_assert(Tile::kThreads / 32 * 16 * kRow * 4 <= Tile::kSharedBytes);
  wait_copies<0>();
  __syncthreads();
  float* const mine = reinterpret_cast<float*>(shared) + warp * 16 * kRow;
  constexpr int kLanesPerRow = Tile::kWarpN / 8;
#pragma unroll
  for (int i = 0; i < kPartsM; ++i) {
#pragma unroll
    for (int j = 0; j < kPartsN; ++j) {
      float* const to = mine + lane / 4 * kRow + j * 8 + lane % 4 * 2;
      *reinterpret_cast<Pack<float, 2>*>(to) = {sum[i][j][0], sum[i][j][1]};
      *reinterpret_cast<Pack<float, 2>*>(to + 8 * kRow) = {sum[i][j][2], sum[i][j][3]};
    }
    __syncwarp();
#pragma unroll
    for (int r = lane / kLanesPerRow; r < 16; r += 32 / kLanesPerRow) {
      const int column = lane % kLanesPerRow * 8;
      const std::int64_t row = m0 + warp_m + i * 16 + r;
      const int n = n0 + warp_n + column;
      if (row >= g.m || n >= g.n) continue;
      float x[8];
      load_eight(x, mine + r * kRow + column, 8, true);
      if (g.float_output) {
        finish_eight<float>(x, g, row, n);
      } else {
        finish_eight<T>(x, g, row, n);
      }
    }
    __syncwarp();
  }
}

template <class T, class Tile, bool kTransposeA, bool kTransposeB, bool kWide>
void launch(const GemmArguments<T>& g, CudaStream stream) {
  const auto kernel = gemm_kernel<T, Tile, kTransposeA, kTransposeB, kWide>;
  TS_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes));
  const std::int64_t tiles =
      ((g.m + std::int64_t{Tile::kM} - 1) / Tile::kM) * ((g.n + std::int64_t{Tile::kN} - 1) / Tile::kN);
  TS_REQUIRE(tiles <= 0x7fffffff, tiles);
  kernel<<<static_cast<unsigned>(tiles), Tile::kThreads, Tile::kSharedBytes, stream>>>(g);
  TS_CUDA(cudaGetLastError());
}

template <class T, bool kTransposeA, bool kTransposeB>
void choose_kernel(const GemmArguments<T>& g, int tile, bool wide, CudaStream stream) {
  if (!wide) {
    launch<T, SmallGemmTile, kTransposeA, kTransposeB, false>(g, stream);
  } else if (tile == 0) {
    launch<T, LargeGemmTile, kTransposeA, kTransposeB, true>(g, stream);
  } else if (tile == 1) {
    launch<T, MediumGemmTile, kTransposeA, kTransposeB, true>(g, stream);
  } else {
    launch<T, SmallGemmTile, kTransposeA, kTransposeB, true>(g, stream);
  }
}

template <class T>
void gemm_mma(const GemmProblem& p, int tile, CudaStream stream) {
  const bool residual = p.beta != 0;
  const GemmArguments<T> g{
      static_cast<const T*>(p.a),
      static_cast<const T*>(p.b),
      p.c,
      p.d,
      p.bias,
      p.lda,
      p.ldb,
      p.ldc,
      p.ldd,
      static_cast<int>(p.shape.m),
      static_cast<int>(p.shape.n),
      static_cast<int>(p.shape.k),
      p.alpha,
      p.beta,
      p.float_output,
      p.ldd % 8 == 0 && aligned16(p.d) && (!residual || (p.ldc % 8 == 0 && aligned16(p.c)))};
  const bool wide = p.lda % 8 == 0 && p.ldb % 8 == 0 && aligned16(p.a) && aligned16(p.b);
  const bool ta = p.transpose_a == Transpose::kYes;
  const bool tb = p.transpose_b == Transpose::kYes;
  if (ta && tb) {
    choose_kernel<T, true, true>(g, tile, wide, stream);
  } else if (ta) {
    choose_kernel<T, true, false>(g, tile, wide, stream);
  } else if (tb) {
    choose_kernel<T, false, true>(g, tile, wide, stream);
  } else {
    choose_kernel<T, false, false>(g, tile, wide, stream);
  }
}

}  // namespace
}  // namespace tessera::kernels::internal
