#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/mlp/swiglu_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;

/// 1 / (1 + exp(-z)); exp overflows to inf below z = -88, which gives 0 as it should.
__device__ float sigmoid(float z) { return 1.0F / (1.0F + __expf(-z)); }

/// A thread has V neighbouring columns of one row; threads run over rows of width / V packs.
template <class T, int V>
__global__ void forward(T* y, const T* gate_up, std::int64_t packs, int packs_per_row) {
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const std::int64_t row = pack / packs_per_row;
  const std::int64_t column = pack % packs_per_row * V;
  const std::int64_t width = static_cast<std::int64_t>(packs_per_row) * V;
  const auto gate = *reinterpret_cast<const Pack<T, V>*>(gate_up + row * 2 * width + column);
  const auto up = *reinterpret_cast<const Pack<T, V>*>(gate_up + row * 2 * width + width + column);
  Pack<T, V> out;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const float z = to_float(gate.value[v]);
    from_float(out.value[v], z * sigmoid(z) * to_float(up.value[v]));
  }
  *reinterpret_cast<Pack<T, V>*>(y + row * width + column) = out;
}

template <class T, int V>
__global__ void backward(T* d_gate_up, T* y_out, const T* dy, const T* gate_up, std::int64_t packs,
                         int packs_per_row) {
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const std::int64_t row = pack / packs_per_row;
  const std::int64_t column = pack % packs_per_row * V;
  const std::int64_t width = static_cast<std::int64_t>(packs_per_row) * V;
  const std::int64_t at_gate = row * 2 * width + column;
  const auto gate = *reinterpret_cast<const Pack<T, V>*>(gate_up + at_gate);
  const auto up = *reinterpret_cast<const Pack<T, V>*>(gate_up + at_gate + width);
  const auto d = *reinterpret_cast<const Pack<T, V>*>(dy + row * width + column);
  Pack<T, V> d_gate;
  Pack<T, V> d_up;
  Pack<T, V> out;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const float z = to_float(gate.value[v]);
    const float u = to_float(up.value[v]);
    const float g = to_float(d.value[v]);
    const float s = sigmoid(z);
    from_float(d_gate.value[v], g * u * s * (1.0F + z * (1.0F - s)));
    from_float(d_up.value[v], g * z * s);
    from_float(out.value[v], z * s * u);
  }
  *reinterpret_cast<Pack<T, V>*>(d_gate_up + at_gate) = d_gate;
  *reinterpret_cast<Pack<T, V>*>(d_gate_up + at_gate + width) = d_up;
  if (y_out != nullptr) *reinterpret_cast<Pack<T, V>*>(y_out + row * width + column) = out;
}

/// Calls run(V, packs, packs per row) with the widest access that fits.
template <class T, class Run, class... Pointers>
void choose_width(std::int64_t tokens, std::int64_t width, const Run& run, const Pointers*... pointers) {
  TS_REQUIRE(tokens >= 0 && width >= 1 && width <= 1 << 28, tokens, width);
  if (tokens == 0) return;
  constexpr int V = kWide<typename Device<T>::Type>;
  const bool wide = width % V == 0 && (aligned16(pointers) && ...);
  const std::int64_t packs_per_row = wide ? width / V : width;
  const std::int64_t packs = tokens * packs_per_row;
  const auto grid = static_cast<unsigned>((packs + kThreads - 1) / kThreads);
  if (wide) {
    run(std::integral_constant<int, V>(), grid, packs, static_cast<int>(packs_per_row));
  } else {
    run(std::integral_constant<int, 1>(), grid, packs, static_cast<int>(packs_per_row));
  }
  TS_CUDA(cudaGetLastError());
}

}  // namespace

template <class T>
void swiglu_forward_cuda(T* y, const T* gate_up, std::int64_t tokens, std::int64_t width, CudaStream stream) {
  choose_width<T>(
      tokens, width,
      [&](auto v, unsigned grid, std::int64_t packs, int per_row) {
        forward<typename Device<T>::Type, decltype(v)::value>
            <<<grid, kThreads, 0, stream>>>(device(y), device(gate_up), packs, per_row);
      },
      y, gate_up);
}

template <class T>
void swiglu_backward_cuda(T* d_gate_up, T* y_out, const T* dy, const T* gate_up, std::int64_t tokens,
                          std::int64_t width, CudaStream stream) {
  choose_width<T>(
      tokens, width,
      [&](auto v, unsigned grid, std::int64_t packs, int per_row) {
        backward<typename Device<T>::Type, decltype(v)::value><<<grid, kThreads, 0, stream>>>(
            device(d_gate_up), device(y_out), device(dy), device(gate_up), packs, per_row);
      },
      d_gate_up, y_out, dy, gate_up);
}

template void swiglu_forward_cuda(float*, const float*, std::int64_t, std::int64_t, CudaStream);
template void swiglu_forward_cuda(Bf16*, const Bf16*, std::int64_t, std::int64_t, CudaStream);
template void swiglu_forward_cuda(F16*, const F16*, std::int64_t, std::int64_t, CudaStream);
template void swiglu_backward_cuda(float*, float*, const float*, const float*, std::int64_t, std::int64_t,
                                   CudaStream);
template void swiglu_backward_cuda(Bf16*, Bf16*, const Bf16*, const Bf16*, std::int64_t, std::int64_t,
                                   CudaStream);
template void swiglu_backward_cuda(F16*, F16*, const F16*, const F16*, std::int64_t, std::int64_t,
                                   CudaStream);

}  // namespace tessera::kernels
