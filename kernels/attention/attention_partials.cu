#include "algos/base/require.h"
#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/attention_merge.cuh"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_vector.cuh"

namespace tessera::kernels {
namespace {

using namespace cuda;  // NOLINT(google-build-using-namespace): this file's helpers

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

/// One warp per range of 32 tokens.
__global__ void ranges(TokenRange* range, const std::int32_t* position, const std::int32_t* document,
                       int tokens, int count) {
  const int warp = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  if (warp >= count) return;
  const int token = min(warp * 32 + static_cast<int>(threadIdx.x) % 32, tokens - 1);
  const std::int32_t at = position[token];
  const std::int32_t in = document == nullptr ? 0 : document[token];
  TokenRange all;
  all.position_min = __reduce_min_sync(0xffffffffU, at);
  all.position_max = __reduce_max_sync(0xffffffffU, at);
  all.document_min = __reduce_min_sync(0xffffffffU, in);
  all.document_max = __reduce_max_sync(0xffffffffU, in);
  if (threadIdx.x % 32 == 0) range[warp] = all;
}

/// The row (token, head) of this warp, -1 past the last. Heads of a token are neighbours.
__device__ std::int64_t warp_row(std::int64_t rows) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  return row < rows ? row : -1;
}

template <class T>
__global__ void deltas(float* delta, const T* d_o, std::int64_t d_o_stride, const float* o,
                       std::int64_t o_stride, std::int64_t tokens, int heads, int head_dim) {
  const std::int64_t row = warp_row(tokens * heads);
  if (row < 0) return;
  const std::int64_t t = row / heads;
  const auto h = static_cast<int>(row % heads);
  float sum = 0;
  for (int d = static_cast<int>(threadIdx.x) % 32; d < head_dim; d += 32) {
    sum += to_float(d_o[t * d_o_stride + h * head_dim + d]) * o[t * o_stride + h * head_dim + d];
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
  if (threadIdx.x % 32 == 0) delta[h * tokens + t] = sum;
}

__global__ void merges(float* o1, float* lse1, const float* o2, const float* lse2, std::int64_t tokens,
                       int heads, int head_dim) {
  const std::int64_t row = warp_row(tokens * heads);
  if (row < 0) return;
  const std::int64_t stat = row % heads * tokens + row / heads;
  const bool leader = threadIdx.x % 32 == 0;
  // One lane reads and writes the lse, so that no lane reads what another has written.
  const float before = __shfl_sync(0xffffffffU, leader ? lse1[stat] : 0, 0);
  const LseMerge merge(before, lse2[stat]);
  if (merge.second == 0 && merge.lse == before) return;
  for (int d = static_cast<int>(threadIdx.x) % 32; d < head_dim; d += 32) {
    const std::int64_t at = row * head_dim + d;
    o1[at] = merge.first == 0 ? o2[at] : merge.first * o1[at] + merge.second * o2[at];
  }
  if (leader) lse1[stat] = merge.lse;
}

unsigned warp_blocks(std::int64_t warps) { return static_cast<unsigned>((warps + kWarps - 1) / kWarps); }

}  // namespace

void token_ranges_cuda(TokenRange* range, const std::int32_t* position, const std::int32_t* document,
                       std::int32_t tokens, CudaStream stream) {
  if (tokens == 0) return;
  const int count = (tokens + 31) / 32;
  ranges<<<warp_blocks(count), kThreads, 0, stream>>>(range, position, document, tokens, count);
  TS_CUDA(cudaGetLastError());
}

template <class T>
void attention_delta_cuda(float* delta, const T* d_o, std::int64_t d_o_stride, const float* o,
                          std::int64_t o_stride, std::int64_t tokens, int heads, int head_dim,
                          CudaStream stream) {
  if (tokens == 0) return;
  deltas<<<warp_blocks(tokens * heads), kThreads, 0, stream>>>(delta, device(d_o), d_o_stride, o, o_stride,
                                                               tokens, heads, head_dim);
  TS_CUDA(cudaGetLastError());
}
template void attention_delta_cuda(float*, const float*, std::int64_t, const float*, std::int64_t,
                                   std::int64_t, int, int, CudaStream);
template void attention_delta_cuda(float*, const Bf16*, std::int64_t, const float*, std::int64_t,
                                   std::int64_t, int, int, CudaStream);
template void attention_delta_cuda(float*, const F16*, std::int64_t, const float*, std::int64_t, std::int64_t,
                                   int, int, CudaStream);

void merge_partials_cuda(float* o1, float* lse1, const float* o2, const float* lse2, std::int64_t tokens,
                         int heads, int head_dim, CudaStream stream) {
  if (tokens == 0) return;
  merges<<<warp_blocks(tokens * heads), kThreads, 0, stream>>>(o1, lse1, o2, lse2, tokens, heads, head_dim);
  TS_CUDA(cudaGetLastError());
}

}  // namespace tessera::kernels
