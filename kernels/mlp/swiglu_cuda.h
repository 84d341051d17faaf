/// SwiGLU on the GPU: the formulas of swiglu.h, storage T (float, Bf16 or F16), arithmetic in fp32.
///
/// Shapes    gate_up, d_gate_up: [T, 2F]; y, y_out, dy: [T, F]; y_out may be null; d_gate_up may alias
///           gate_up.
/// Paths     16 bytes an access where F is a multiple of it and pointers are aligned, else value by value.
/// Errors    a launch that fails throws CudaError (cuda_check.h); no tokens is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

template <class T>
void swiglu_forward_cuda(T* y, const T* gate_up, std::int64_t tokens, std::int64_t width, CudaStream stream);
template <class T>
void swiglu_backward_cuda(T* d_gate_up, T* y_out, const T* dy, const T* gate_up, std::int64_t tokens,
                          std::int64_t width, CudaStream stream);

}  // namespace tessera::kernels
