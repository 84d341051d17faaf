/// cuBLASLt behind gemm_cuda: a handle and a workspace per device and stream, and a cache of the algorithm
/// that its heuristics chose for a product's shape, layout and alignment, so that they are asked once.
#pragma once

#include <string>

#include "kernels/device/cuda_types.h"
#include "kernels/gemm/gemm_mma.h"

namespace tessera::kernels::internal {

/// Empty where cuBLASLt starts on the calling thread's device, else why not.
[[nodiscard]] std::string cublaslt_problem();
[[nodiscard]] std::string cublaslt_version();

/// False, with nothing done, where cuBLASLt takes no such product. M, N, K >= 1. The first product of a
/// stream allocates its workspace, so it must not be inside a graph's capture.
[[nodiscard]] bool gemm_cublaslt(const GemmProblem& problem, CudaStream stream);

}  // namespace tessera::kernels::internal
