/// Matrix product, row-major:  C[M,N] = alpha * op(A)[M,K] * op(B)[K,N] + beta * C.
///
/// Provider   oneDNN where it was found at build time, else Eigen, which compiled for the baseline reaches a
///            third of oneDNN on AVX-512; gemm_provider() names it.
/// Threads    the product is cut over rows and columns of C, each piece one single-threaded library call on
///            the calling thread's pool. The cut depends on the shape alone, so C is the same to the bit for
///            any number of threads.
/// Requires   leading dimensions in floats: lda >= columns of A as stored, and so on; beta == 0 never
///            reads C. M, N or K of 0 is allowed (K == 0 scales C by beta).
/// Errors     a failed library call throws std::runtime_error or std::bad_alloc.
/// Oracle     gemm_ref.cc, sums in double.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera::kernels {

enum class Transpose : std::uint8_t { kNo, kYes };

struct GemmShape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

void gemm(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

[[nodiscard]] std::string_view gemm_provider();

/// Plain loops; C is read (beta) and written in double.
void gemm_ref(GemmShape shape, Transpose transpose_a, Transpose transpose_b, double alpha, const float* a,
              std::int64_t lda, const float* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc);

}  // namespace tessera::kernels
