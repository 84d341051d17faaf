#include <algorithm>
#include <cmath>

#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/optim/adamw_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 1024;  // of the sum: enough for every SM of a card several times over

/// The step's numbers as the kernel uses them, formed in double on the host.
struct Factors {
  float scale, beta1, one_beta1, beta2, one_beta2, shrink, step_size, root_correction, eps;
};

Factors factors(const AdamwStep& s) {
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  return {static_cast<float>(s.gradient_scale),
          static_cast<float>(s.beta1),
          static_cast<float>(1 - s.beta1),
          static_cast<float>(s.beta2),
          static_cast<float>(1 - s.beta2),
          static_cast<float>(1 - s.learning_rate * s.weight_decay),
          static_cast<float>(s.learning_rate / correction1),
          static_cast<float>(1 / std::sqrt(correction2)),
          static_cast<float>(s.eps)};
}

template <class T>
__global__ void step_kernel(float* master, T* p, float* m, float* v, const float* gradient, std::int64_t n,
                            Factors f, const float* scale) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const float g = f.scale * (scale == nullptr ? 1.0F : *scale) * gradient[i];
  const float first = f.beta1 * m[i] + f.one_beta1 * g;
  const float second = f.beta2 * v[i] + f.one_beta2 * g * g;
  m[i] = first;
  v[i] = second;
  const float w = f.shrink * master[i] - f.step_size * first / (sqrtf(second) * f.root_correction + f.eps);
  master[i] = w;
  if (p != nullptr) from_float(p[i], w);
}

__global__ void clip_factor_kernel(float* factor, const double* sum_of_squares, double limit,
                                   double divisor) {
  const double norm = sqrt(*sum_of_squares);
  if (!isfinite(norm)) {
    *factor = NAN;
    return;
  }
  *factor = static_cast<float>((limit > 0 ? fmin(1.0, limit / (norm + 1e-6)) : 1.0) / divisor);
}

__global__ void scale_kernel(float* x, const float* factor, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) x[i] *= *factor;
}

/// Threads stride over the whole; a block's threads are added in order.
__global__ void sum_of_squares_blocks(double* partial, const float* x, std::int64_t n) {
  __shared__ double shared[kThreads];
  double sum = 0;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  shared[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = shared[0];
}

__global__ void sum_in_order(double* out, const double* partial, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += partial[i];
  *out = sum;
}

}  // namespace

template <class T>
void adamw_cuda(float* master, T* p, float* m, float* v, const float* gradient, std::int64_t n,
                const AdamwStep& step, const float* scale, CudaStream stream) {
  TS_REQUIRE(n >= 0 && step.step >= 1, n, step.step);
  if (n == 0) return;
  const auto grid = static_cast<unsigned>((n + kThreads - 1) / kThreads);
  step_kernel<<<grid, kThreads, 0, stream>>>(master, device(p), m, v, gradient, n, factors(step), scale);
  TS_CUDA(cudaGetLastError());
}

void clip_factor_cuda(float* factor, const double* sum_of_squares, double limit, double divisor,
                      CudaStream stream) {
  TS_REQUIRE(divisor > 0, divisor);
  clip_factor_kernel<<<1, 1, 0, stream>>>(factor, sum_of_squares, limit, divisor);
  TS_CUDA(cudaGetLastError());
}

void scale_cuda(float* x, const float* factor, std::int64_t n, CudaStream stream) {
  TS_REQUIRE(n >= 0, n);
  if (n == 0) return;
  scale_kernel<<<static_cast<unsigned>((n + kThreads - 1) / kThreads), kThreads, 0, stream>>>(x, factor, n);
  TS_CUDA(cudaGetLastError());
}

std::int64_t sum_of_squares_scratch(std::int64_t n) {
  return std::clamp<std::int64_t>((n + kThreads - 1) / kThreads, 1, kMostBlocks);
}

void sum_of_squares_cuda(double* out, const float* x, std::int64_t n, double* scratch, CudaStream stream) {
  TS_REQUIRE(n >= 0, n);
  const auto blocks = static_cast<int>(sum_of_squares_scratch(n));
  sum_of_squares_blocks<<<blocks, kThreads, 0, stream>>>(scratch, x, n);
  TS_CUDA(cudaGetLastError());
  sum_in_order<<<1, 1, 0, stream>>>(out, scratch, blocks);
  TS_CUDA(cudaGetLastError());
}

template void adamw_cuda(float*, float*, float*, float*, const float*, std::int64_t, const AdamwStep&,
                         const float*, CudaStream);
template void adamw_cuda(float*, Bf16*, float*, float*, const float*, std::int64_t, const AdamwStep&,
                         const float*, CudaStream);

}  // namespace tessera::kernels
