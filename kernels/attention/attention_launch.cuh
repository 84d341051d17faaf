/// From a work list to launches: which kernel a block takes, and how several blocks share one launch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/require.h"
#include "kernels/attention/attention_cuda.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_device.h"
#include "kernels/device/cuda_vector.cuh"

namespace tessera::kernels::cuda {

/// Blocks of one launch, by blockIdx.z; as many as fit into 4 KiB of kernel parameters.
template <class Work>
struct Batch {
  static constexpr int kSize = 4000 / static_cast<int>(sizeof(Work));
  Work work[kSize];
};

/// One row of a dispatch table: a kernel for head widths up to head_dim.
template <class Work>
struct AttentionKernel {
  const char* name = nullptr;
  int head_dim = 0;
  int shared_bytes = 0;
  int rows = 0;  // tokens that a thread block owns
  int threads = 0;
  void (*run)(Batch<Work>) = nullptr;
};

/// The first row of `table` that is wide enough and whose shared memory fits. Rows are sorted by head_dim,
/// those of one head_dim from large to small. Null: none.
template <class Work>
const AttentionKernel<Work>* choose(std::span<const AttentionKernel<Work>> table, int head_dim,
                                    int shared_limit) {
  for (const AttentionKernel<Work>& row : table) {
    if (row.head_dim >= head_dim && row.shared_bytes <= shared_limit) return &row;
  }
  return nullptr;
}

/// The row that a block takes: of `tiles` if it may, else, or where none fits, of `plain`.
template <class Work>
const AttentionKernel<Work>* choose_kernel(std::span<const AttentionKernel<Work>> tiles, bool takes_tiles,
                                           std::span<const AttentionKernel<Work>> plain, int head_dim,
                                           int shared_limit) {
  const AttentionKernel<Work>* chosen = takes_tiles ? choose(tiles, head_dim, shared_limit) : nullptr;
  if (chosen == nullptr) chosen = choose(plain, head_dim, shared_limit);
  TS_REQUIRE(chosen != nullptr, head_dim, shared_limit);
  return chosen;
}

/// The table's rows for attention_variants().
template <class Work>
void append_variants(std::vector<KernelVariant>& rows, const char* operation,
                     std::span<const AttentionKernel<Work>> table, const char* takes) {
  for (const AttentionKernel<Work>& row : table) {
    rows.push_back({operation, row.name, 80, false, row.shared_bytes, takes});
  }
}

inline constexpr const char* kTileOperands = "16-byte aligned rows";
void append_forward_variants(std::vector<KernelVariant>& rows);  // attention_forward.cu

inline int shared_limit(const CudaAttentionLimits& limits) {
  int device = 0;
  int bytes = 0;
  TS_CUDA(cudaGetDevice(&device));
  TS_CUDA(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return limits.shared_bytes == 0 ? bytes : std::min(bytes, limits.shared_bytes);
}

template <class T>
void check(const CudaAttentionBlock<T>& b) {
  TS_REQUIRE(b.head_dim >= 1 && b.head_dim <= 256, b.head_dim);
  TS_REQUIRE(b.kv_heads >= 1 && b.heads >= 1 && b.heads % b.kv_heads == 0, b.heads, b.kv_heads);
  TS_REQUIRE(b.heads <= 65535, b.heads);
  TS_REQUIRE(b.q_tokens >= 0 && b.kv_tokens >= 0, b.q_tokens, b.kv_tokens);
  TS_REQUIRE(b.q_stride >= static_cast<std::int64_t>(b.heads) * b.head_dim, b.q_stride);
  TS_REQUIRE(b.kv_stride >= static_cast<std::int64_t>(b.kv_heads) * b.head_dim, b.kv_stride);
  TS_REQUIRE(b.scale > 0, b.scale);
  TS_REQUIRE(b.mask.q.position != nullptr && b.mask.k.position != nullptr);
  TS_REQUIRE(b.mask.q.range != nullptr && b.mask.k.range != nullptr);
  TS_REQUIRE((b.mask.q.document == nullptr) == (b.mask.k.document == nullptr));
  TS_REQUIRE(b.dropout.probability >= 0 && b.dropout.probability < 1, b.dropout.probability);
}

/// Whether the tensor-core path can read q, k and v 16 bytes at a time.
template <class T>
bool reads_in_packs(const CudaAttentionBlock<T>& b) {
  return sizeof(T) == 2 && b.head_dim % 8 == 0 && b.q_stride % 8 == 0 && b.kv_stride % 8 == 0 &&
         aligned16(b.q) && aligned16(b.k) && aligned16(b.v);
}
/// Whether it can write a row of floats in pairs.
inline bool writes_in_pairs(const float* p, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(p) % 8 == 0 && stride % 2 == 0;
}

/// Launches the work list in order, consecutive blocks that take the same kernel together.
///   kernel_of(work) -> const AttentionKernel<Work>*      rows_of(work), heads_of(work): what it spans
template <class Work, class KernelOf, class RowsOf, class HeadsOf>
void launch_all(std::span<const Work> list, CudaStream stream, KernelOf kernel_of, RowsOf rows_of,
                HeadsOf heads_of) {
  std::size_t next = 0;
  while (next < list.size()) {
    Batch<Work> batch;
    const AttentionKernel<Work>* kernel = nullptr;
    int count = 0;
    int tiles = 0;
    int heads = 0;
    for (; next < list.size() && count < Batch<Work>::kSize; ++next) {
      const Work& work = list[next];
      if (work.block.q_tokens == 0 || work.block.kv_tokens == 0) continue;
      const AttentionKernel<Work>* mine = kernel_of(work);
      if (kernel != nullptr && mine != kernel) break;
      kernel = mine;
      batch.work[count++] = work;
      tiles = std::max(tiles, (rows_of(work) + kernel->rows - 1) / kernel->rows);
      heads = std::max(heads, heads_of(work));
    }
    if (count == 0) return;
    if (kernel->shared_bytes > 48 * 1024) {
      TS_CUDA(cudaFuncSetAttribute(kernel->run, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   kernel->shared_bytes));
    }
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(heads), static_cast<unsigned>(count));
    kernel->run<<<grid, static_cast<unsigned>(kernel->threads),
                  static_cast<std::size_t>(kernel->shared_bytes), stream>>>(batch);
    TS_CUDA(cudaGetLastError());
  }
}

}  // namespace tessera::kernels::cuda
