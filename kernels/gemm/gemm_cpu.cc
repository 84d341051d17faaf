#include <algorithm>
#include <limits>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_piece.h"

namespace tessera::kernels {
namespace {

/// Pieces of C along its rows and along its columns.
struct Cut {
  std::int64_t along_m = 1;
  std::int64_t along_n = 1;
};

/// A register kernel wants this many rows and columns: at 64 columns oneDNN loses a tenth of its speed.
constexpr std::int64_t kShortestSide = 128;
/// Boundaries fall on whole vectors and cache lines.
constexpr std::int64_t kSideUnit = 16;

/// Pieces worth having for so many multiply-adds: small products still keep a few threads busy, large ones
/// lose 1 to 5 % on one thread, and no piece is shorter than 10 us.
std::int64_t wanted_pieces(double work) {
  std::int64_t pieces = 1;
  for (const double enough_for_twice : {4e6, 32e6, 1.5e9, 12e9, 96e9}) {
    if (work >= enough_for_twice) pieces *= 2;
  }
  return pieces;
}

/// A function of the shape alone, never of the threads: a library may sum over k in another order for
/// another m or n (oneDNN's AVX2 kernels do, its AVX-512 kernels at 64 columns), and C must not depend on
/// the number of threads. Of the grids with so many pieces the one that repacks least: each cut along m
/// packs op(B) once more, each cut along n packs op(A) once more; a transposed B costs twice (measured:
/// NT loses 10 to 15 % of the peak when rows are cut to 128, NN and TN next to nothing).
Cut choose_cut(GemmShape shape, Transpose transpose_b) {
  const auto [m, n, k] = shape;
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double pack_b = static_cast<double>(n) * (transpose_b == Transpose::kYes ? 2 : 1);
  const double pack_a = static_cast<double>(m);
  for (std::int64_t pieces = wanted_pieces(work); pieces > 1; pieces /= 2) {
    Cut best;
    double least = std::numeric_limits<double>::infinity();
    for (std::int64_t along_m = 1; along_m <= pieces; along_m *= 2) {
      const std::int64_t along_n = pieces / along_m;
      if (along_m > 1 && m < along_m * kShortestSide) continue;
      if (along_n > 1 && n < along_n * kShortestSide) continue;
      const double cost = static_cast<double>(along_m) * pack_b + static_cast<double>(along_n) * pack_a;
      if (cost < least) {
        best = {along_m, along_n};
        least = cost;
      }
    }
    if (best.along_m * best.along_n == pieces) return best;
  }
  return {};
}

/// Where piece `index` of `pieces` begins on a side of `length`.
std::int64_t boundary(std::int64_t length, std::int64_t pieces, std::int64_t index) {
  if (index == pieces) return length;
  return length * index / pieces / kSideUnit * kSideUnit;
}

void scale(GemmShape shape, float beta, float* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < shape.m; ++i) {
    float* row = c + i * ldc;
    if (beta == 0) {
      std::fill_n(row, shape.n, 0.0F);
    } else {
      for (std::int64_t j = 0; j < shape.n; ++j) row[j] *= beta;
    }
  }
}

}  // namespace

void gemm(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const auto [m, n, k] = shape;
  TS_REQUIRE(m >= 0 && n >= 0 && k >= 0, m, n, k);
  if (m == 0 || n == 0) return;
  TS_REQUIRE(ldc >= n, ldc, n);
  if (k == 0) {
    scale(shape, beta, c, ldc);
    return;
  }
  const bool a_transposed = transpose_a == Transpose::kYes;
  const bool b_transposed = transpose_b == Transpose::kYes;
  TS_REQUIRE(lda >= (a_transposed ? m : k), lda, m, k);
  TS_REQUIRE(ldb >= (b_transposed ? k : n), ldb, n, k);

  const Cut cut = choose_cut(shape, transpose_b);
  if (cut.along_m * cut.along_n == 1) {
    internal::gemm_piece(shape, transpose_a, transpose_b, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  parallel_for(cut.along_m * cut.along_n, [&, m = m, n = n, k = k](std::int64_t piece) {
    const std::int64_t row = piece / cut.along_n;
    const std::int64_t column = piece % cut.along_n;
    const std::int64_t i = boundary(m, cut.along_m, row);
    const std::int64_t j = boundary(n, cut.along_n, column);
    const GemmShape part{boundary(m, cut.along_m, row + 1) - i, boundary(n, cut.along_n, column + 1) - j, k};
    internal::gemm_piece(part, transpose_a, transpose_b, alpha, a + (a_transposed ? i : i * lda), lda,
                         b + (b_transposed ? j * ldb : j), ldb, beta, c + i * ldc + j, ldc);
  });
}

std::string_view gemm_provider() { return internal::gemm_piece_provider(); }

}  // namespace tessera::kernels
