/// Rotary position embedding on the GPU: the formulas of rope.h in place, storage T (float, Bf16 or F16),
/// arithmetic in fp32.
///
/// Shapes    x, dx: [T, H, D] with a token stride in values, D even; tables: [T, D/2] float.
/// Paths     16 bytes of x an access where D/2 and the stride are multiples of it and pointers are aligned,
///           else value by value.
/// Errors    a launch that fails throws CudaError (cuda_check.h); no tokens is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

/// Angles and their sine and cosine in double, as on the CPU; `position` and `inv_freq` are on the device.
void rope_table_cuda(float* cos_TI, float* sin_TI, const std::int32_t* position_T, const double* inv_freq_I,
                     std::int64_t tokens, std::int64_t half_dim, CudaStream stream);

template <class T>
void rope_forward_cuda(T* x, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                       std::int64_t tokens, int heads, int head_dim, CudaStream stream);
template <class T>
void rope_backward_cuda(T* dx, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                        std::int64_t tokens, int heads, int head_dim, CudaStream stream);

}  // namespace tessera::kernels
