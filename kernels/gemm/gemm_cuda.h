/// Matrix product on the GPU, row-major, T (Bf16 or F16) in, fp32 sums, O (T or float) out:
///
///   D[M,N] = alpha * op(A)[M,K] * op(B)[K,N] + beta * C[M,N] + bias[N]
///
/// C may be D (accumulate into a gradient), or another matrix (a residual). beta == 0 never reads C; bias
/// may be null.
///
/// Provider   chosen per call: cuBLASLt where the build found it, it starts on the device and has an
///            algorithm for the product; else our tensor-core kernel (mma.sync, capability 8.0 and up), its
///            tile chosen by shape and device (gemm_tile.h). gemm_variants is the table,
///            set_gemm_cuda_provider takes one.
/// Requires   leading dimensions in values. Any M, N, K >= 0 below 2^31; K == 0 gives beta * C + bias.
///            Pointers and leading dimensions at multiples of 16 bytes are fast; others are read value by
///            value.
/// Sums       of our kernel run over K in order whatever the tile, so the result repeats bit for bit.
/// Errors     a launch that fails throws CudaError; a cuBLASLt call that fails throws CublasLtError.
/// Oracle     gemm_ref.cc.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/device/cuda_device.h"
#include "kernels/device/cuda_types.h"
#include "kernels/gemm/gemm.h"

namespace tessera::kernels {

template <class T, class O>
struct GemmOperands {
  const T* a = nullptr;
  std::int64_t lda = 0;
  const T* b = nullptr;
  std::int64_t ldb = 0;
  const O* c = nullptr;
  std::int64_t ldc = 0;
  O* d = nullptr;
  std::int64_t ldd = 0;
  const O* bias = nullptr;
};

template <class T, class O>
void gemm_cuda(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha,
               const GemmOperands<T, O>& operands, float beta, CudaStream stream);

enum class GemmCudaProvider : std::uint8_t { kAuto, kOwn, kCublasLt };
/// For the whole process. kCublasLt throws std::runtime_error with the reason where cuBLASLt cannot be had.
void set_gemm_cuda_provider(GemmCudaProvider provider);
/// "cuBLASLt 13.1.0" or "mma.sync, as cuBLASLt ..."
[[nodiscard]] std::string gemm_cuda_provider();

/// Rows of the dispatch table in order of preference; cuBLASLt's where it starts on the calling thread's
/// device.
[[nodiscard]] std::vector<KernelVariant> gemm_variants();

class CublasLtError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace tessera::kernels
