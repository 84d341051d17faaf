#include <algorithm>

#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/norm/rmsnorm_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr std::int64_t kStripRows = 32;  // of the weight gradient's first sum: 32 rows to one partial sum

/// One block per token; a thread holds kItems packs of V neighbouring values.
template <class T, int V, int kItems>
__global__ void forward_registers(T* y, float* rstd, T* sum, const T* residual, const T* update, const T* w,
                                  int width, float eps) {
  __shared__ float shared[32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * width;
  float x[kItems][V];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * V;
    if (at >= width) break;
    const auto left = *reinterpret_cast<const Pack<T, V>*>(residual + row + at);
    Pack<T, V> total;
#pragma unroll
    for (int v = 0; v < V; ++v) x[i][v] = to_float(left.value[v]);
    if (update != nullptr) {
      const auto right = *reinterpret_cast<const Pack<T, V>*>(update + row + at);
#pragma unroll
      for (int v = 0; v < V; ++v) x[i][v] += to_float(right.value[v]);
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      from_float(total.value[v], x[i][v]);
      x[i][v] = to_float(total.value[v]);  // the stream as it is stored: backward reads that
      squares += x[i][v] * x[i][v];
    }
    *reinterpret_cast<Pack<T, V>*>(sum + row + at) = total;
  }
  const float r = rsqrtf(block_sum(squares, shared) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = r;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * V;
    if (at >= width) break;
    const auto weight = *reinterpret_cast<const Pack<T, V>*>(w + at);
    Pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) from_float(out.value[v], to_float(weight.value[v]) * x[i][v] * r);
    *reinterpret_cast<Pack<T, V>*>(y + row + at) = out;
  }
}

/// Any width and alignment: the row is read again from `sum`.
template <class T>
__global__ void forward_values(T* y, float* rstd, T* sum, const T* residual, const T* update, const T* w,
                               int width, float eps) {
  __shared__ float shared[32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * width;
  float squares = 0;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    float x = to_float(residual[row + d]);
    if (update != nullptr) x += to_float(update[row + d]);
    from_float(sum[row + d], x);
    x = to_float(sum[row + d]);
    squares += x * x;
  }
  const float r = rsqrtf(block_sum(squares, shared) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = r;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    from_float(y[row + d], to_float(w[d]) * to_float(sum[row + d]) * r);
  }
}

/// dx of one token per block.
template <class T>
__global__ void backward_rows(float* dx, const T* dy, const T* x, const float* rstd, const T* w, int width) {
  __shared__ float shared[32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * width;
  const float r = rstd[blockIdx.x];
  float dot = 0;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    dot += to_float(dy[row + d]) * to_float(w[d]) * to_float(x[row + d]);
  }
  const float mean = block_sum(dot, shared) / static_cast<float>(width);
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kThreads) {
    const float g = to_float(dy[row + d]) * to_float(w[d]);
    dx[row + d] += r * (g - to_float(x[row + d]) * r * r * mean);
  }
}

/// partial[strip, d] = sum of dy * x * rstd over the strip's rows. A thread has one column.
template <class T>
__global__ void backward_weight_strips(float* partial, const T* dy, const T* x, const float* rstd,
                                       std::int64_t tokens, int width) {
  const int d = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (d >= width) return;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * kStripRows;
  const std::int64_t end = begin + kStripRows < tokens ? begin + kStripRows : tokens;
  float sum = 0;
  for (std::int64_t t = begin; t < end; ++t)
    sum += to_float(dy[t * width + d]) * to_float(x[t * width + d]) * rstd[t];
  partial[blockIdx.y * static_cast<std::int64_t>(width) + d] = sum;
}

__global__ void backward_weight_sum(float* dw, const float* partial, int strips, int width) {
  const int d = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (d >= width) return;
  float sum = 0;
  for (int s = 0; s < strips; ++s) sum += partial[static_cast<std::int64_t>(s) * width + d];
  dw[d] += sum;
}

std::int64_t strips(std::int64_t tokens) { return (tokens + kStripRows - 1) / kStripRows; }

unsigned blocks(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

}  // namespace

template <class T>
void rmsnorm_forward_cuda(T* y, float* rstd, T* sum, const T* residual, const T* update, const T* w,
                          std::int64_t tokens, std::int64_t width, float eps, CudaStream stream) {
  TS_REQUIRE(tokens >= 0 && width >= 1 && width <= 1 << 24 && tokens <= 0x7fffffff, tokens, width);
  if (tokens == 0) return;
  using D = typename Device<T>::Type;
  constexpr int V = kWide<D>;
  const auto grid = static_cast<unsigned>(tokens);
  const auto D_ = static_cast<int>(width);
  const bool wide = width % V == 0 && aligned16(y) && aligned16(sum) && aligned16(residual) &&
                    aligned16(update) && aligned16(w);
  const std::int64_t items = blocks(width, kThreads * V);
  const auto run = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, stream>>>(device(y), rstd, device(sum), device(residual), device(update),
                                          device(w), D_, eps);
  };
  if (!wide || items > 8) {
    run(forward_values<D>);
  } else if (items == 1) {
    run(forward_registers<D, V, 1>);
  } else if (items == 2) {
    run(forward_registers<D, V, 2>);
  } else if (items <= 4) {
    run(forward_registers<D, V, 4>);
  } else {
    run(forward_registers<D, V, 8>);
  }
  TS_CUDA(cudaGetLastError());
}

std::int64_t rmsnorm_backward_scratch(std::int64_t tokens, std::int64_t width) {
  return strips(tokens) * width;
}

template <class T>
void rmsnorm_backward_cuda(float* dx, float* dw, const T* dy, const T* x, const float* rstd, const T* w,
                           std::int64_t tokens, std::int64_t width, float* scratch, CudaStream stream) {
  TS_REQUIRE(tokens >= 0 && width >= 1 && width <= 1 << 24 && strips(tokens) <= 65535, tokens, width);
  if (tokens == 0) return;
  const auto D_ = static_cast<int>(width);
  const dim3 grid(blocks(width, kThreads), static_cast<unsigned>(strips(tokens)));
  backward_weight_strips<<<grid, kThreads, 0, stream>>>(scratch, device(dy), device(x), rstd, tokens, D_);
  TS_CUDA(cudaGetLastError());
  backward_weight_sum<<<blocks(width, kThreads), kThreads, 0, stream>>>(dw, scratch,
                                                                        static_cast<int>(strips(tokens)), D_);
  TS_CUDA(cudaGetLastError());
  backward_rows<<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(dx, device(dy), device(x), rstd,
                                                                        device(w), D_);
  TS_CUDA(cudaGetLastError());
}

template void rmsnorm_forward_cuda(float*, float*, float*, const float*, const float*, const float*,
                                   std::int64_t, std::int64_t, float, CudaStream);
template void rmsnorm_forward_cuda(Bf16*, float*, Bf16*, const Bf16*, const Bf16*, const Bf16*, std::int64_t,
                                   std::int64_t, float, CudaStream);
template void rmsnorm_forward_cuda(F16*, float*, F16*, const F16*, const F16*, const F16*, std::int64_t,
                                   std::int64_t, float, CudaStream);
template void rmsnorm_backward_cuda(float*, float*, const float*, const float*, const float*, const float*,
                                    std::int64_t, std::int64_t, float*, CudaStream);
template void rmsnorm_backward_cuda(float*, float*, const Bf16*, const Bf16*, const float*, const Bf16*,
                                    std::int64_t, std::int64_t, float*, CudaStream);
template void rmsnorm_backward_cuda(float*, float*, const F16*, const F16*, const float*, const F16*,
                                    std::int64_t, std::int64_t, float*, CudaStream);

}  // namespace tessera::kernels
