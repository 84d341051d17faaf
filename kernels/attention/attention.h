/// Attention of one Q block with one KV block, exact, resumable. The unit Mesh-Attention is made of.
/// Dao 2023, arXiv:2307.08691 (online softmax and its backward); Liu et al. 2023, arXiv:2310.01889
/// (blocks continued across ranks).
///
/// Legend   Tq, Tk tokens of the block; H query heads, G key/value heads, H % G == 0, query head h uses
///          key/value head h / (H / G); D head width, 1 <= D <= 256.
///
///   s[h,i,j] = scale * q[i,h,:] . k[j,h/(H/G),:]          where mask.allows(i, j), else -inf
///   lse[h,i] = log sum_j exp(s[h,i,j])
///   o[i,h,:] = sum_j exp(s[h,i,j] - lse[h,i]) * keep[h,i,j] / (1 - p) * v[j,h/(H/G),:]
///
/// Resuming: (o, lse) is the state as well as the result. A row starts as o = 0, lse = -inf; each call
/// folds one more KV block into it, so that after any number of calls the row holds exactly the
/// attention over all keys seen. A row that may look at nothing stays o = 0, lse = -inf.
#pragma once

#include <cstdint>
#include <span>

namespace tessera::kernels {

/// Which query sees which key, from token coordinates. Allowed iff all hold:
///   q_document[i] == k_document[j]                       (both null: one document)
///   !causal   or  k_position[j] <= q_position[i]
///   window==0 or  q_position[i] - k_position[j] < window (and, when not causal, also
///                 k_position[j] - q_position[i] < window)
/// Positions are those of the whole sequence, so permuted layouts (zigzag, striped) stay exact.
/// They need not be sorted, but kernels skip fully masked sub-tiles by the least and greatest position
/// of a run of rows, so runs of increasing positions are what is fast.
struct BlockMask {
  const std::int32_t* q_position = nullptr;  // [Tq]
  const std::int32_t* k_position = nullptr;  // [Tk]
  const std::int32_t* q_document = nullptr;  // [Tq] or null
  const std::int32_t* k_document = nullptr;  // [Tk] or null
  bool causal = true;
  std::int32_t window = 0;  // tokens; 0 = unlimited

  [[nodiscard]] bool allows(std::int64_t i, std::int64_t j) const {
    if (q_document != nullptr && q_document[i] != k_document[j]) return false;
    const std::int32_t distance = q_position[i] - k_position[j];
    if (causal && distance < 0) return false;
    return window == 0 || (distance < window && -distance < window);
  }
};

/// Dropout on attention probabilities, keyed by (key, head, query position, key position): any layout,
/// either pass and any device draw the same mask. dropout_keep in dropout.h is the definition.
struct Dropout {
  float probability = 0;        // of dropping, in [0, 1)
  std::uint64_t key = 0;        // seed, step, layer and sequence, mixed by the caller
  std::int32_t first_head = 0;  // global index of head 0 of this block
};

/// The operands of one block. Strides count floats between consecutive tokens, so a block may be a
/// view of a larger tensor; heads of a token are contiguous: q[i * q_stride + h * D + d].
struct AttentionBlock {
  const float* q = nullptr;  // [Tq, H, D]
  const float* k = nullptr;  // [Tk, G, D]
  const float* v = nullptr;  // [Tk, G, D]
  std::int64_t q_tokens = 0;
  std::int64_t kv_tokens = 0;
  std::int64_t q_stride = 0;   // >= H * D
  std::int64_t kv_stride = 0;  // >= G * D
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  float scale = 0;
  BlockMask mask;
  Dropout dropout;
};

struct AttentionForward {
  AttentionBlock block;
  float* o = nullptr;  // [Tq, H, D], stride o_stride; read and written
  std::int64_t o_stride = 0;
  float* lse = nullptr;  // [H, Tq]; read and written
};

/// Backward needs the final lse of each row and delta[h,i] = sum_d dO[i,h,d] * O[i,h,d] (attention_delta).
/// Adds into dq, dk, dv. dk and dv sum over the H / G query heads that share a key/value head.
struct AttentionBackward {
  AttentionBlock block;
  const float* d_o = nullptr;  // [Tq, H, D], stride o_stride
  std::int64_t o_stride = 0;
  const float* lse = nullptr;    // [H, Tq]
  const float* delta = nullptr;  // [H, Tq]
  float* dq = nullptr;           // [Tq, H, D], stride dq_stride
  float* dk = nullptr;           // [Tk, G, D], stride dkv_stride
  float* dv = nullptr;           // [Tk, G, D], stride dkv_stride
  std::int64_t dq_stride = 0;
  std::int64_t dkv_stride = 0;
};

/// Runs a work list of blocks (one per sequence of a micro-batch, say) on the calling thread's pool.
/// Requires  blocks of one call write disjoint rows; empty blocks are a no-op.
/// Result    does not depend on the number of threads, bit for bit.
/// Cost      4 * D flops per allowed (i, j, h) forward, 10 * D backward; sub-tiles with nothing allowed
///           are skipped. Scratch is per thread and reused.
/// Oracle    attention_ref.cc, everything in double.
void attention_forward(std::span<const AttentionForward> work);
void attention_backward(std::span<const AttentionBackward> work);

/// delta[h,i] = sum_d d_o[i,h,d] * o[i,h,d]; both [T, H, D] with the given token stride.
void attention_delta(float* delta_HT, const float* d_o, const float* o, std::int64_t tokens,
                     std::int64_t stride, int heads, int head_dim);

/// Folds the partial (o2, lse2) into (o1, lse1), both normalised:
///   L = logaddexp(lse1, lse2), o1 <- exp(lse1 - L) o1 + exp(lse2 - L) o2, lse1 <- L.
/// Rows of which one side is -inf take the other side unchanged. o: [T, H, D] contiguous, lse: [H, T].
void merge_partials(float* o1, float* lse1_HT, const float* o2, const float* lse2_HT, std::int64_t tokens,
                    int heads, int head_dim);

/// The same formulas as plain loops in double, from float operands. o, lse, dq, dk, dv are doubles of the
/// same logical shape, contiguous ([T, heads, D] and [H, T]).
void attention_forward_ref(const AttentionBlock& block, double* o, double* lse);
void attention_backward_ref(const AttentionBlock& block, const float* d_o, std::int64_t o_stride,
                            const double* lse, const double* delta, double* dq, double* dk, double* dv);

}  // namespace tessera::kernels
