#include "kernels/gemm/gemm.h"

namespace tessera::kernels {

void gemm_ref(GemmShape shape, Transpose transpose_a, Transpose transpose_b, double alpha, const float* a,
              std::int64_t lda, const float* b, std::int64_t ldb, double beta, double* c, std::int64_t ldc) {
  const auto a_at = [&](std::int64_t i, std::int64_t l) {
    return static_cast<double>(transpose_a == Transpose::kNo ? a[i * lda + l] : a[l * lda + i]);
  };
  const auto b_at = [&](std::int64_t l, std::int64_t j) {
    return static_cast<double>(transpose_b == Transpose::kNo ? b[l * ldb + j] : b[j * ldb + l]);
  };
  for (std::int64_t i = 0; i < shape.m; ++i) {
    for (std::int64_t j = 0; j < shape.n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < shape.k; ++l) sum += a_at(i, l) * b_at(l, j);
      double& out = c[i * ldc + j];
      out = alpha * sum + (beta == 0 ? 0 : beta * out);
    }
  }
}

}  // namespace tessera::kernels
