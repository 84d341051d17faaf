#include "algos/base/require.h"
#include "kernels/cast/cast_cuda.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;

/// A thread converts V neighbouring values; the last thread the rest, which is shorter.
template <class To, class From, int V>
__global__ void cast_kernel(To* to, const From* from, std::int64_t n) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  if (at + V <= n) {
    const auto in = *reinterpret_cast<const Pack<From, V>*>(from + at);
    Pack<To, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) from_float(out.value[v], to_float(in.value[v]));
    *reinterpret_cast<Pack<To, V>*>(to + at) = out;
  } else {
    for (std::int64_t i = at; i < n; ++i) from_float(to[i], to_float(from[i]));
  }
}

}  // namespace

template <class To, class From>
void cast_cuda(To* to, const From* from, std::int64_t n, CudaStream stream) {
  TS_REQUIRE(n >= 0, n);
  if (n == 0) return;
  const auto run = [&](auto v) {
    constexpr int V = decltype(v)::value;
    const std::int64_t threads = (n + V - 1) / V;
    const auto grid = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
    cast_kernel<typename Device<To>::Type, typename Device<From>::Type, V>
        <<<grid, kThreads, 0, stream>>>(device(to), device(from), n);
  };
  if (aligned16(to) && aligned16(from)) {
    run(std::integral_constant<int, 4>());
  } else {
    run(std::integral_constant<int, 1>());
  }
  TS_CUDA(cudaGetLastError());
}

template void cast_cuda(float*, const Bf16*, std::int64_t, CudaStream);
template void cast_cuda(float*, const F16*, std::int64_t, CudaStream);
template void cast_cuda(Bf16*, const float*, std::int64_t, CudaStream);
template void cast_cuda(F16*, const float*, std::int64_t, CudaStream);

}  // namespace tessera::kernels
