#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/rope/rope_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;

__global__ void table_kernel(float* cosine, float* sine, const std::int32_t* position, const double* inv_freq,
                             std::int64_t count, int half) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= count) return;
  const double angle = position[at / half] * inv_freq[at % half];
  double s = 0;
  double c = 0;
  sincos(angle, &s, &c);
  cosine[at] = static_cast<float>(c);
  sine[at] = static_cast<float>(s);
}

/// A thread rotates V neighbouring pairs (i, i + D/2) of one head. `sign` is +1 forward, -1 backward.
template <class T, int V>
__global__ void rotate_kernel(T* x, std::int64_t token_stride, const float* cosine, const float* sine,
                              std::int64_t packs, int heads, int half, float sign) {
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const int per_head = half / V;
  const int i = static_cast<int>(pack % per_head) * V;
  const auto head = static_cast<int>(pack / per_head % heads);
  const std::int64_t token = pack / per_head / heads;
  T* at = x + token * token_stride + static_cast<std::int64_t>(head) * 2 * half + i;
  auto low = *reinterpret_cast<const Pack<T, V>*>(at);
  auto high = *reinterpret_cast<const Pack<T, V>*>(at + half);
  constexpr int W = V < 4 ? V : 4;
#pragma unroll
  for (int part = 0; part < V; part += W) {
    const auto c = *reinterpret_cast<const Pack<float, W>*>(cosine + token * half + i + part);
    const auto s = *reinterpret_cast<const Pack<float, W>*>(sine + token * half + i + part);
#pragma unroll
    for (int v = 0; v < W; ++v) {
      const float a = to_float(low.value[part + v]);
      const float b = to_float(high.value[part + v]);
      from_float(low.value[part + v], a * c.value[v] - b * sign * s.value[v]);
      from_float(high.value[part + v], b * c.value[v] + a * sign * s.value[v]);
    }
  }
  *reinterpret_cast<Pack<T, V>*>(at) = low;
  *reinterpret_cast<Pack<T, V>*>(at + half) = high;
}

template <class T>
void rotate(T* x, std::int64_t token_stride, const float* cosine, const float* sine, std::int64_t tokens,
            int heads, int head_dim, float sign, CudaStream stream) {
  TS_REQUIRE(tokens >= 0 && heads >= 1 && head_dim >= 2 && head_dim % 2 == 0, tokens, heads, head_dim);
  TS_REQUIRE(token_stride >= static_cast<std::int64_t>(heads) * head_dim, token_stride, heads, head_dim);
  if (tokens == 0) return;
  using D = typename Device<T>::Type;
  const int half = head_dim / 2;
  const auto run = [&](auto v) {
    constexpr int V = decltype(v)::value;
    const std::int64_t packs = tokens * heads * (half / V);
    const auto grid = static_cast<unsigned>((packs + kThreads - 1) / kThreads);
    rotate_kernel<D, V>
        <<<grid, kThreads, 0, stream>>>(device(x), token_stride, cosine, sine, packs, heads, half, sign);
  };
  constexpr int V = kWide<D>;
  if (half % V == 0 && token_stride % V == 0 && aligned16(x) && aligned16(cosine) && aligned16(sine)) {
    run(std::integral_constant<int, V>());
  } else {
    run(std::integral_constant<int, 1>());
  }
  TS_CUDA(cudaGetLastError());
}

}  // namespace

void rope_table_cuda(float* cos_TI, float* sin_TI, const std::int32_t* position_T, const double* inv_freq_I,
                     std::int64_t tokens, std::int64_t half_dim, CudaStream stream) {
  TS_REQUIRE(tokens >= 0 && half_dim >= 1, tokens, half_dim);
  const std::int64_t count = tokens * half_dim;
  if (count == 0) return;
  table_kernel<<<static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      cos_TI, sin_TI, position_T, inv_freq_I, count, static_cast<int>(half_dim));
  TS_CUDA(cudaGetLastError());
}

template <class T>
void rope_forward_cuda(T* x, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                       std::int64_t tokens, int heads, int head_dim, CudaStream stream) {
  rotate(x, token_stride, cos_TI, sin_TI, tokens, heads, head_dim, 1.0F, stream);
}

template <class T>
void rope_backward_cuda(T* dx, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                        std::int64_t tokens, int heads, int head_dim, CudaStream stream) {
  rotate(dx, token_stride, cos_TI, sin_TI, tokens, heads, head_dim, -1.0F, stream);
}

template void rope_forward_cuda(float*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                CudaStream);
template void rope_forward_cuda(Bf16*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                CudaStream);
template void rope_forward_cuda(F16*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                CudaStream);
template void rope_backward_cuda(float*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                 CudaStream);
template void rope_backward_cuda(Bf16*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                 CudaStream);
template void rope_backward_cuda(F16*, std::int64_t, const float*, const float*, std::int64_t, int, int,
                                 CudaStream);

}  // namespace tessera::kernels
