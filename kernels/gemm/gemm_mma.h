/// Between the dispatcher and the compiled kernels: one product, types erased. gemm_cuda.h has the meaning.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"
#include "kernels/gemm/gemm.h"

namespace tessera::kernels::internal {

enum class GemmInput : std::uint8_t { kBf16, kF16 };

struct GemmProblem {
  GemmShape shape;
  Transpose transpose_a = Transpose::kNo;
  Transpose transpose_b = Transpose::kNo;
  float alpha = 1;
  float beta = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  const void* bias = nullptr;
  std::int64_t lda = 0;
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;
  std::int64_t ldd = 0;
  GemmInput input = GemmInput::kBf16;
  bool float_output = false;  // else as the input
};

/// With tile kGemmTiles[tile], or, where an operand is off a 16-byte boundary, with the smallest. M, N >= 1.
void gemm_mma_bf16(const GemmProblem& problem, int tile, CudaStream stream);
void gemm_mma_f16(const GemmProblem& problem, int tile, CudaStream stream);

}  // namespace tessera::kernels::internal
