/// Tiles of 16-bit rows in shared memory and the two products that attention makes of them.
///
/// Swizzle. A tile is [rows][D] without padding; the 16-byte chunks of a row are permuted so that the eight
/// rows an ldmatrix reads at one time lie in eight different groups of four banks. Rows of 128 bytes or a
/// multiple start at the same bank: chunk c of row r goes to c ^ (r % 8). Rows of 192 bytes (D = 96) start at
/// two banks in turn: c ^ (r / 2 % 4) spreads the rest. Both stay inside the row.
///
/// Fragments. A warp's scores s[R][N / 8][4] are those of 16 R rows with N columns: lane l holds, in
/// s[m][j][e], row 16 m + l / 4 + 8 (e / 2) and column 8 j + 2 (l % 4) + e % 2.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_mma.cuh"

namespace tessera::kernels::cuda {

template <int D>
__device__ inline int swizzled(int row, int chunk) {
  static_assert(D % 64 == 0 || D == 96);
  const int permuted = D % 64 == 0 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3);
  return row * D + permuted * 8;
}

/// Copies rows [0, valid) and columns [0, width) of a tensor with token stride into a tile; the rest of the
/// tile becomes 0. Asynchronous: the caller commits and waits. width % 8 == 0.
template <int D, int kRows, int kThreads, class T>
__device__ inline void load_tile(T* tile, const T* from, std::int64_t stride, int valid, int width) {
  constexpr int kChunks = D / 8;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks;
    const int chunk = i % kChunks;
    const bool inside = row < valid && chunk * 8 < width;
    copy16_async(tile + swizzled<D>(row, chunk), from + (inside ? row * stride + chunk * 8 : 0),
                 inside ? 16 : 0);
  }
}

/// s = a b^T: rows [first, first + 16 R) of tile a with the N rows of tile b.
template <int D, int R, int N, class T>
__device__ inline void multiply_transposed(float (&s)[R][N / 8][4], const T* a, int first, const T* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int m = 0; m < R; ++m)
#pragma unroll
    for (int j = 0; j < N / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) s[m][j][e] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    std::uint32_t left[R][4];
#pragma unroll
    for (int m = 0; m < R; ++m) {
      load_matrices(left[m], a + swizzled<D>(first + m * 16 + lane % 16, k * 2 + lane / 16));
    }
#pragma unroll
    for (int j = 0; j < N / 16; ++j) {
      std::uint32_t right[4];  // columns 0..7 in 0 and 1, columns 8..15 in 2 and 3
      load_matrices(right, b + swizzled<D>(j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < R; ++m) {
        multiply_add<T>(s[m][2 * j], left[m], right[0], right[1]);
        multiply_add<T>(s[m][2 * j + 1], left[m], right[2], right[3]);
      }
    }
  }
}

/// 2^x in one instruction, to 2 units in the last place; results below 2^-126 become 0.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline std::uint32_t pack_pair(float low, float high, __nv_bfloat16 /*as*/) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(pair);
}
__device__ inline std::uint32_t pack_pair(float low, float high, __half /*as*/) {
  const __half2 pair = __floats2half2_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(pair);
}

/// sum += p b[:, first_chunk * 8 ...]: p, rounded to T, with kColumns columns of the N rows of tile b.
template <int D, int R, int N, int kColumns, class T>
__device__ inline void multiply_add_rows(float (&sum)[R][kColumns / 8][4], const float (&p)[R][N / 8][4],
                                         const T* b, int first_chunk) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int k = 0; k < N / 16; ++k) {
    std::uint32_t left[R][4];
#pragma unroll
    for (int m = 0; m < R; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float(&c)[4] = p[m][2 * k + half];
        left[m][2 * half] = pack_pair(c[0], c[1], T());
        left[m][2 * half + 1] = pack_pair(c[2], c[3], T());
      }
    }
#pragma unroll
    for (int d = 0; d < kColumns / 16; ++d) {
      std::uint32_t right[4];
      load_matrices_transposed(right, b + swizzled<D>(k * 16 + lane % 16, first_chunk + d * 2 + lane / 16));
#pragma unroll
      for (int m = 0; m < R; ++m) {
        multiply_add<T>(sum[m][2 * d], left[m], right[0], right[1]);
        multiply_add<T>(sum[m][2 * d + 1], left[m], right[2], right[3]);
      }
    }
  }
}

}  // namespace tessera::kernels::cuda
