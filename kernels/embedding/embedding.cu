#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"
#include "kernels/embedding/embedding_cuda.h"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr int kColumnThreads = 128;  // of a strip's block

unsigned blocks(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

/// A thread copies one pack of V values.
template <class T, int V>
__global__ void forward_kernel(T* y, const T* table, const std::int32_t* token, std::int64_t packs,
                               int packs_per_row, std::int64_t first, std::int64_t rows) {
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pack >= packs) return;
  const std::int64_t row = token[pack / packs_per_row] - first;
  Pack<T, V> value{};
  if (0 <= row && row < rows) {
    value = reinterpret_cast<const Pack<T, V>*>(table)[row * packs_per_row + pack % packs_per_row];
  }
  reinterpret_cast<Pack<T, V>*>(y)[pack] = value;
}

/// One strip and V * kColumnThreads columns a block; a thread adds its columns token by token.
template <class T, int V>
__global__ void strips_kernel(float* d_table, float* partial, const T* dy, const std::int32_t* token,
                              const EmbeddingStrip* strips, int width) {
  const EmbeddingStrip strip = strips[blockIdx.x];
  const int d = static_cast<int>(blockIdx.y * kColumnThreads + threadIdx.x) * V;
  if (d >= width) return;
  float sum[V] = {};
#pragma unroll 4
  for (int i = 0; i < strip.count; ++i) {
    const auto x = *reinterpret_cast<const Pack<T, V>*>(
        dy + static_cast<std::int64_t>(token[strip.begin + i]) * width + d);
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] += to_float(x.value[v]);
  }
  const bool whole = strip.slot < 0;
  float* to = whole ? d_table + static_cast<std::int64_t>(strip.row) * width + d
                    : partial + static_cast<std::int64_t>(strip.slot) * width + d;
#pragma unroll
  for (int v = 0; v < V; ++v) to[v] = whole ? to[v] + sum[v] : sum[v];
}

/// One long row and kColumnThreads columns a block.
__global__ void sums_kernel(float* d_table, const float* partial, const EmbeddingSum* sums, int width) {
  const EmbeddingSum row = sums[blockIdx.x];
  const int d = static_cast<int>(blockIdx.y * kColumnThreads + threadIdx.x);
  if (d >= width) return;
  float sum = 0;
  for (int i = 0; i < row.slots; ++i)
    sum += partial[static_cast<std::int64_t>(row.first_slot + i) * width + d];
  d_table[static_cast<std::int64_t>(row.row) * width + d] += sum;
}

}  // namespace

template <class T>
void embedding_forward_cuda(T* y, const T* table, const std::int32_t* token, std::int64_t tokens,
                            std::int64_t width, std::int64_t first, std::int64_t rows, CudaStream stream) {
  TS_REQUIRE(tokens >= 0 && width >= 1 && width <= 1 << 24 && rows >= 0, tokens, width, rows);
  if (tokens == 0) return;
  using D = typename Device<T>::Type;
  const auto run = [&](auto v) {
    constexpr int V = decltype(v)::value;
    const std::int64_t packs = tokens * (width / V);
    forward_kernel<D, V><<<blocks(packs, kThreads), kThreads, 0, stream>>>(
        device(y), device(table), token, packs, static_cast<int>(width / V), first, rows);
  };
  if (width % kWide<D> == 0 && aligned16(y) && aligned16(table)) {
    run(std::integral_constant<int, kWide<D>>());
  } else {
    run(std::integral_constant<int, 1>());
  }
  TS_CUDA(cudaGetLastError());
}

template <class T>
void embedding_backward_cuda(float* d_table, const T* dy, const EmbeddingOrderOnDevice& order,
                             std::int64_t width, CudaStream stream) {
  TS_REQUIRE(width >= 1 && width <= 1 << 22 && order.strip_count >= 0 && order.sum_count >= 0, width,
             order.strip_count, order.sum_count);
  if (order.strip_count == 0) return;
  using D = typename Device<T>::Type;
  const auto D_ = static_cast<int>(width);
  const auto run = [&](auto v) {
    constexpr int V = decltype(v)::value;
    const dim3 grid(static_cast<unsigned>(order.strip_count), blocks(width, kColumnThreads * V));
    strips_kernel<D, V><<<grid, kColumnThreads, 0, stream>>>(d_table, order.partial, device(dy), order.token,
                                                             order.strips, D_);
  };
  constexpr int V = 4;  // 16 bytes of the fp32 sums
  if (width % V == 0 && aligned16(dy) && aligned16(d_table) && aligned16(order.partial)) {
    run(std::integral_constant<int, V>());
  } else {
    run(std::integral_constant<int, 1>());
  }
  TS_CUDA(cudaGetLastError());
  if (order.sum_count == 0) return;
  const dim3 grid(static_cast<unsigned>(order.sum_count), blocks(width, kColumnThreads));
  sums_kernel<<<grid, kColumnThreads, 0, stream>>>(d_table, order.partial, order.sums, D_);
  TS_CUDA(cudaGetLastError());
}

template void embedding_forward_cuda(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t,
                                     std::int64_t, std::int64_t, CudaStream);
template void embedding_forward_cuda(Bf16*, const Bf16*, const std::int32_t*, std::int64_t, std::int64_t,
                                     std::int64_t, std::int64_t, CudaStream);
template void embedding_forward_cuda(F16*, const F16*, const std::int32_t*, std::int64_t, std::int64_t,
                                     std::int64_t, std::int64_t, CudaStream);
template void embedding_backward_cuda(float*, const float*, const EmbeddingOrderOnDevice&, std::int64_t,
                                      CudaStream);
template void embedding_backward_cuda(float*, const Bf16*, const EmbeddingOrderOnDevice&, std::int64_t,
                                      CudaStream);
template void embedding_backward_cuda(float*, const F16*, const EmbeddingOrderOnDevice&, std::int64_t,
                                      CudaStream);

}  // namespace tessera::kernels
