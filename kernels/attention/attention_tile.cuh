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
__device__ inline int permutation(int row) {
  static_assert(D % 64 == 0 || D == 96);
  return D % 64 == 0 ? row & 7 : row >> 1 & 3;
}

/// What a lane hands to ldmatrix: shared addresses along one row of a 128-byte aligned tile, `half` choosing
/// the chunk of each pair. Permuting is an exclusive or of address bits, so that one register serves all
/// pairs of 128 (D = 96: 64) bytes, and rows a multiple of 16 further on have the same permutation.
template <int D>
class RowAddress {
 public:
  __device__ RowAddress(const void* tile, int row, int half)
      : at_(shared_address(tile) +
            static_cast<std::uint32_t>(row * D * 2 + (half ^ permutation<D>(row)) * 16)) {}
  /// Of chunk 2 pair + half, 16 * down rows below.
  __device__ std::uint32_t pair(int pair, int down) const {
    constexpr int kPairs = D % 64 == 0 ? 4 : 2;
    return (at_ ^ static_cast<std::uint32_t>(pair % kPairs * 32)) +
           static_cast<std::uint32_t>(pair / kPairs * kPairs * 32 + down * 16 * D * 2);
  }

 private:
  std::uint32_t at_;
};

/// copy16_async of a single float or none.
__device__ inline void copy4_async(float* shared, const float* global, int bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(shared_address(shared)), "l"(global),
               "r"(bytes)
               : "memory");
}

/// Copies rows [0, valid) and columns [0, width) of a tensor with token stride into a tile; the rest of the
/// tile becomes 0. Asynchronous: the caller commits and waits. width % 8 == 0.
template <int D, int kRows, int kThreads, class T>
__device__ inline void load_tile(T* tile, const T* from, std::int64_t stride, int valid, int width) {
  constexpr int kChunks = D / 8;
  constexpr int kStep = kThreads / kChunks;  // rows that the block copies at a time
  const int chunk = static_cast<int>(threadIdx.x) % kChunks;
  int row = static_cast<int>(threadIdx.x) / kChunks;
  if (row >= kStep) return;  // D = 96: the threads left over
  if (chunk * 8 >= width) valid = 0;
  from += row * stride + chunk * 8;
#pragma unroll 2
  for (; row < kRows; row += kStep) {
    const bool inside = row < valid;
    copy16_async(tile + row * D + (chunk ^ permutation<D>(row)) * 8, from, inside ? 16 : 0);
    from += kStep * stride;
  }
}

/// s = a b^T: rows [first, first + 16 R) of tile a with the N rows of tile b.
template <int D, int R, int N, class T>
__device__ inline void multiply_transposed(float (&s)[R][N / 8][4], const T* a, int first, const T* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const RowAddress<D> a_row(a, first + lane % 16, lane / 16);
  const RowAddress<D> b_row(b, lane % 8 + lane / 16 * 8, lane / 8 % 2);
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
    for (int m = 0; m < R; ++m) load_matrices(left[m], a_row.pair(k, m));
#pragma unroll
    for (int j = 0; j < N / 16; ++j) {
      std::uint32_t right[4];  // columns 0..7 in 0 and 1, columns 8..15 in 2 and 3
      load_matrices(right, b_row.pair(k, j));
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

/// sum += p b[:, first_column ...]: p, rounded to T, with kColumns columns of the N rows of tile b.
/// first_column is a multiple of 64.
template <int D, int R, int N, int kColumns, class T>
__device__ inline void multiply_add_rows(float (&sum)[R][kColumns / 8][4], const float (&p)[R][N / 8][4],
                                         const T* b, int first_column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const RowAddress<D> b_row(b + first_column, lane % 16, lane / 16);
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
      load_matrices_transposed(right, b_row.pair(d, k));
#pragma unroll
      for (int m = 0; m < R; ++m) {
        multiply_add<T>(sum[m][2 * d], left[m], right[0], right[1]);
        multiply_add<T>(sum[m][2 * d + 1], left[m], right[2], right[3]);
      }
    }
  }
}

}  // namespace tessera::kernels::cuda
