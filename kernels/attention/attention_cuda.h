/// Attention of one Q block with one KV block on the GPU: the contract of attention.h, legend and formulas
/// included, with q, k, v and d_o stored as T (float, Bf16 or F16) and partial results, lse and gradients in
/// fp32. All pointers are device memory; strides count elements.
///
/// Paths     tensor cores (mma m16n8k16, fp32 sums; P and dS are rounded to T between the two products): T is
///           16 bits wide, head_dim % 8 == 0, every token of q, k, v, d_o starts on 16 bytes, every token of
///           o, dq, dk, dv on 8. Head widths are padded with zeros to 64, 96, 128 or 256; the tile is the
///           largest that the device's shared memory holds (the tables in attention_forward.cu and
///           attention_backward.cu). Everything else takes the plain path: fp32 arithmetic, any width up to
///           256, any alignment.
/// Order     of all sums is fixed, there are no atomics: results repeat bit for bit on one device. They
///           depend on the tile, so devices of unequal shared memory differ by rounding.
/// Rounding  with u = 2^-24 and r half a unit in the last place of T, o errs by a few r times
///           sum_j p_j |v_j|; it is rounded to T nowhere, so folding in more blocks adds fp32 roundings only.
///           In F16 a |dS| below 2^-24 is lost and one above 65504 overflows: scale the loss.
/// Errors    a launch that fails throws CudaError (cuda_check.h); empty blocks are a no-op.
/// Oracle    attention_ref.cc on the stored values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/token_range.h"
#include "kernels/device/cuda_device.h"
#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

/// Coordinates of a block's tokens (BlockMask in attention.h) and, so that tiles with nothing to see are
/// skipped unread, their ranges: range[i] covers tokens [32 i, 32 i + 32), see token_ranges_cuda.
struct CudaTokens {
  const std::int32_t* position = nullptr;
  const std::int32_t* document = nullptr;  // null for both sides: one document
  const TokenRange* range = nullptr;
};

struct CudaBlockMask {
  CudaTokens q;
  CudaTokens k;
  bool causal = true;
  std::int32_t window = 0;
};

/// Requires scale > 0.
template <class T>
struct CudaAttentionBlock {
  const T* q = nullptr;  // [Tq, H, D]
  const T* k = nullptr;  // [Tk, G, D]
  const T* v = nullptr;  // [Tk, G, D]
  std::int32_t q_tokens = 0;
  std::int32_t kv_tokens = 0;
  std::int64_t q_stride = 0;
  std::int64_t kv_stride = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  float scale = 0;
  CudaBlockMask mask;
  Dropout dropout;
};

template <class T>
struct CudaAttentionForward {
  CudaAttentionBlock<T> block;
  float* o = nullptr;  // [Tq, H, D]; read and written, read only where lse > -inf
  std::int64_t o_stride = 0;
  float* lse = nullptr;  // [H, Tq]; read and written
};

template <class T>
struct CudaAttentionBackward {
  CudaAttentionBlock<T> block;
  const T* d_o = nullptr;  // [Tq, H, D]
  std::int64_t d_o_stride = 0;
  const float* lse = nullptr;    // [H, Tq], final
  const float* delta = nullptr;  // [H, Tq], attention_delta_cuda
  float* dq = nullptr;           // [Tq, H, D], added into
  float* dk = nullptr;           // [Tk, G, D], added into
  float* dv = nullptr;           // [Tk, G, D], added into
  std::int64_t dq_stride = 0;
  std::int64_t dkv_stride = 0;
};

/// Narrows the choice of path; for tests and for comparisons of paths.
struct CudaAttentionLimits {
  int shared_bytes = 0;  // shared memory a thread block may use; 0: what the device allows
  bool tensor_cores = true;
};

/// Runs a work list of blocks, several in one launch. Blocks of one call write disjoint rows.
/// Cost      as attention.h says for forward. Backward runs one kernel over keys (dk, dv) and one over
///           queries (dq), each recomputing the probabilities: 14 * D flops per allowed (i, j, h).
template <class T>
void attention_forward_cuda(std::span<const CudaAttentionForward<T>> work, CudaStream stream,
                            CudaAttentionLimits limits = {});
template <class T>
void attention_backward_cuda(std::span<const CudaAttentionBackward<T>> work, CudaStream stream,
                             CudaAttentionLimits limits = {});

/// The dispatch tables, of bf16 (fp16 has the same, fp32 the plain rows alone).
[[nodiscard]] std::vector<KernelVariant> attention_variants();

/// range[i] of tokens [32 i, 32 i + 32): ceil(tokens / 32) entries. Once per layout, for all layers and both
/// passes. document may be null.
void token_ranges_cuda(TokenRange* range, const std::int32_t* position, const std::int32_t* document,
                       std::int32_t tokens, CudaStream stream);

/// delta[h,i] = sum_d d_o[i,h,d] * o[i,h,d], each with its own token stride.
template <class T>
void attention_delta_cuda(float* delta_HT, const T* d_o, std::int64_t d_o_stride, const float* o,
                          std::int64_t o_stride, std::int64_t tokens, int heads, int head_dim,
                          CudaStream stream);

/// merge_partials of attention.h, with its order of operations.
void merge_partials_cuda(float* o1, float* lse1_HT, const float* o2, const float* lse2_HT,
                         std::int64_t tokens, int heads, int head_dim, CudaStream stream);

}  // namespace tessera::kernels
