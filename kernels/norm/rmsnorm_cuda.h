/// RMSNorm on the GPU: the formulas of rmsnorm.h, storage T (float, Bf16 or F16), arithmetic in fp32.
///
/// Shapes    y, residual, update, sum: [T, D] of T; w: [D] of T; rstd: [T] float; dw: [D] float, added into.
///           dx is [T, D] float, added into: the gradient of the residual stream stays in fp32.
/// Paths     rows are kept in registers, 16 bytes an access, up to D = 16384 (16 bits) or 8192 (fp32) when D
/// is
///           a multiple of the access and pointers are 16-byte aligned; else value by value, reading the row
///           twice.
/// Sums      in a fixed order: the result repeats bit for bit. dw: strips of rows, then over the strips in
///           order.
/// Errors    a launch that fails throws CudaError (cuda_check.h); T == 0 is a no-op.
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

template <class T>
void rmsnorm_forward_cuda(T* y, float* rstd, T* sum, const T* residual, const T* update, const T* w,
                          std::int64_t tokens, std::int64_t width, float eps, CudaStream stream);

/// Floats of scratch that rmsnorm_backward_cuda wants.
[[nodiscard]] std::int64_t rmsnorm_backward_scratch(std::int64_t tokens, std::int64_t width);
/// `x` is the forward pass's sum.
template <class T>
void rmsnorm_backward_cuda(float* dx, float* dw, const T* dy, const T* x, const float* rstd, const T* w,
                           std::int64_t tokens, std::int64_t width, float* scratch, CudaStream stream);

}  // namespace tessera::kernels
