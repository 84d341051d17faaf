/// AdamW on the GPU: the formulas of adamw.h on fp32 master weights, elementwise.
/// p is the copy that products read, written from the master; null where nothing reads one (T float).
/// sum_of_squares_cuda: sum_i x[i]^2 in double, the same on every run; `out` is one double on the device,
/// overwritten; `scratch` holds sum_of_squares_scratch(n) doubles. Errors    a launch that fails throws
/// CudaError (cuda_check.h); n == 0 is a no-op (the sum is written as 0).
#pragma once

#include <cstdint>

#include "kernels/device/cuda_types.h"
#include "kernels/optim/adamw.h"

namespace tessera::kernels {

template <class T>
void adamw_cuda(float* master, T* p, float* m, float* v, const float* gradient, std::int64_t n,
                const AdamwStep& step, CudaStream stream);

[[nodiscard]] std::int64_t sum_of_squares_scratch(std::int64_t n);
void sum_of_squares_cuda(double* out, const float* x, std::int64_t n, double* scratch, CudaStream stream);

}  // namespace tessera::kernels
