#include "algos/base/require.h"
#include "kernels/attention/attention_pack_cuda.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 1 << 20;  // a thread goes on in strides of the grid

unsigned blocks(std::int64_t count) {
  const std::int64_t wanted = (count + kThreads - 1) / kThreads;
  return static_cast<unsigned>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
}

/// Where value i of the message lies in the tensor.
__device__ std::int64_t place(const HeadSlice& s, std::int64_t i) {
  const auto row_of = [&s](std::int64_t r) { return s.rows == nullptr ? r : s.rows[r]; };
  if (s.by_head) {
    const std::int64_t head = i / s.row_count;
    const std::int64_t at = head / s.head_count * s.heads + s.first_head + head % s.head_count;
    return at * s.tokens + row_of(i % s.row_count);
  }
  const std::int64_t run = static_cast<std::int64_t>(s.head_count) * s.width;
  const std::int64_t token = i / run;
  const std::int64_t at = token / s.row_count * s.tokens + row_of(token % s.row_count);
  return (at * s.heads + s.first_head) * s.width + i % run;
}

template <bool kPack, class U>
__global__ void move(U* to, const U* from, HeadSlice slice, std::int64_t count) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += stride) {
    if constexpr (kPack) {
      to[i] = from[place(slice, i)];
    } else {
      to[place(slice, i)] = from[i];
    }
  }
}

template <class U>
__global__ void add(U* to, const U* from, std::int64_t count) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += stride) {
    U sum = to[i];
    const U more = from[i];
#pragma unroll
    for (int v = 0; v < static_cast<int>(sizeof(U) / sizeof(float)); ++v) sum.value[v] += more.value[v];
    to[i] = sum;
  }
}

template <bool kPack, class T>
void move_heads(T* to, const T* from, HeadSlice slice, CudaStream stream) {
  TS_REQUIRE(slice.first_head >= 0 && slice.first_head + slice.head_count <= slice.heads, slice.first_head,
             slice.head_count, slice.heads);
  TS_REQUIRE(!slice.by_head || slice.width == 1, slice.width);
  TS_REQUIRE(slice.rows != nullptr || slice.row_count <= slice.tokens, slice.row_count, slice.tokens);
  constexpr int kPer16 = kWide<T>;
  std::int64_t count = slice.sequences * slice.row_count * slice.head_count * slice.width;
  if (count == 0) return;
  if (slice.width % kPer16 == 0 && aligned16(to) && aligned16(from)) {
    slice.width /= kPer16;
    count /= kPer16;
    move<kPack><<<blocks(count), kThreads, 0, stream>>>(reinterpret_cast<uint4*>(to),
                                                        reinterpret_cast<const uint4*>(from), slice, count);
  } else {
    move<kPack><<<blocks(count), kThreads, 0, stream>>>(device(to), device(from), slice, count);
  }
  TS_CUDA(cudaGetLastError());
}

}  // namespace

template <class T>
void pack_heads_cuda(T* message, const T* tensor, const HeadSlice& slice, CudaStream stream) {
  move_heads<true>(message, tensor, slice, stream);
}
template <class T>
void unpack_heads_cuda(T* tensor, const T* message, const HeadSlice& slice, CudaStream stream) {
  move_heads<false>(tensor, message, slice, stream);
}
template void pack_heads_cuda(float*, const float*, const HeadSlice&, CudaStream);
template void pack_heads_cuda(Bf16*, const Bf16*, const HeadSlice&, CudaStream);
template void pack_heads_cuda(F16*, const F16*, const HeadSlice&, CudaStream);
template void unpack_heads_cuda(float*, const float*, const HeadSlice&, CudaStream);
template void unpack_heads_cuda(Bf16*, const Bf16*, const HeadSlice&, CudaStream);
template void unpack_heads_cuda(F16*, const F16*, const HeadSlice&, CudaStream);

void add_cuda(float* to, const float* from, std::int64_t n, CudaStream stream) {
  if (n <= 0) return;
  if (n % 4 == 0 && aligned16(to) && aligned16(from)) {
    using Four = Pack<float, 4>;
    add<<<blocks(n / 4), kThreads, 0, stream>>>(reinterpret_cast<Four*>(to),
                                                reinterpret_cast<const Four*>(from), n / 4);
  } else {
    using One = Pack<float, 1>;
    add<<<blocks(n), kThreads, 0, stream>>>(reinterpret_cast<One*>(to), reinterpret_cast<const One*>(from),
                                            n);
  }
  TS_CUDA(cudaGetLastError());
}

}  // namespace tessera::kernels
