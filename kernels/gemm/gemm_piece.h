/// One product on the calling thread, whole: what a provider implements. gemm.h has the meaning.
#pragma once

#include <string_view>

#include "kernels/gemm/gemm.h"

namespace tessera::kernels::internal {

/// Requires m, n, k >= 1. No thread but the caller's works on it.
void gemm_piece(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha, const float* a,
                std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

[[nodiscard]] std::string_view gemm_piece_provider();

}  // namespace tessera::kernels::internal
