/// AdamW on the GPU: the formulas of adamw.h on fp32 master weights, elementwise.
///
/// p is the copy that products read, written from the master; null where nothing reads one (T float).
/// `scale` is null or one float on the device that the step's gradient_scale is multiplied with, so that
/// clipping needs no wait on the host. sum_of_squares_cuda: sum_i x[i]^2 in double, the same on every run;
/// `out` is one double on the device, overwritten; `scratch` holds sum_of_squares_scratch(n) doubles.
///
/// Errors    a launch that fails throws CudaError (cuda_check.h); n == 0 is a no-op (the sum is written as
///           0).
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"
#include "kernels/optim/adamw.h"

namespace tessera::kernels {

template <class T>
void adamw_cuda(float* master, T* p, float* m, float* v, const float* gradient, std::int64_t n,
                const AdamwStep& step, const float* scale, CudaStream stream);

/// *factor = min(1, limit / (sqrt(*sum_of_squares) + 1e-6)) / divisor, PyTorch's clip_grad_norm_ and the
/// division by the labels; no clipping where limit <= 0. NaN and infinite sums give NaN, so that the step
/// shows it.
void clip_factor_cuda(float* factor, const double* sum_of_squares, double limit, double divisor,
                      CudaStream stream);
/// x *= *factor, one float on the device.
void scale_cuda(float* x, const float* factor, std::int64_t n, CudaStream stream);

[[nodiscard]] std::int64_t sum_of_squares_scratch(std::int64_t n);
void sum_of_squares_cuda(double* out, const float* x, std::int64_t n, double* scratch, CudaStream stream);

}  // namespace tessera::kernels
