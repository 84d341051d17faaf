#include "kernels/gemm/gemm_mma.cuh"

namespace tessera::kernels::internal {

void gemm_mma_bf16(const GemmProblem& problem, int tile, CudaStream stream) {
  gemm_mma<__nv_bfloat16>(problem, tile, stream);
}

}  // namespace tessera::kernels::internal
