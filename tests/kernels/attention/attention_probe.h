/// The smallest tiles of the CUDA kernels, of width 64, alone: quick to compile once for each planted defect.
#pragma once

#include "kernels/attention/attention_cuda.h"

namespace tessera::kernels {

void probe_forward(const CudaAttentionForward<Bf16>& work);
/// dk, dv, then dq.
void probe_backward(const CudaAttentionBackward<Bf16>& work);

}  // namespace tessera::kernels
