/// Device helpers that elementwise and row kernels share: loads and stores of V neighbouring values as one
/// access of up to 16 bytes, arithmetic in float, sums over a block in a fixed order.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels::cuda {

/// What the device computes with for a storage type of the interface.
template <class T>
struct Device {
  using Type = T;
};
template <>
struct Device<Bf16> {
  using Type = __nv_bfloat16;
};
template <>
struct Device<F16> {
  using Type = __half;
};
template <class T>
const typename Device<T>::Type* device(const T* p) {
  return reinterpret_cast<const typename Device<T>::Type*>(p);
}
template <class T>
typename Device<T>::Type* device(T* p) {
  return reinterpret_cast<typename Device<T>::Type*>(p);
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline void from_float(float& to, float x) { to = x; }
__device__ inline void from_float(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }
__device__ inline void from_float(__half& to, float x) { to = __float2half_rn(x); }

/// V values, aligned so that a load or store is one instruction.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T value[V];
};

/// Values per 16-byte access.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// Sum over the block, known to every thread: a butterfly inside each warp, then over the warps in order.
/// `shared` has 32 floats; may be used again after a __syncthreads.
__device__ inline float block_sum(float x, float* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) shared[warp] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) sum += shared[w];
  return sum;
}

}  // namespace tessera::kernels::cuda
