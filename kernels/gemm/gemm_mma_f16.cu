#include "kernels/gemm/gemm_mma.cuh"

namespace tessera::kernels::internal {

void gemm_mma_f16(const GemmProblem& problem, int tile, CudaStream stream) {
  gemm_mma<__half>(problem, tile, stream);
}

}  // namespace tessera::kernels::internal
