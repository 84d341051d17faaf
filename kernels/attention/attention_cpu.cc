#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/dropout.h"
#include "kernels/device/thread_pool.h"

namespace tessera::kernels {
namespace {

float dot(const float* a, const float* b, int count) {
  float sum = 0;
  for (int d = 0; d < count; ++d) sum += a[d] * b[d];
  return sum;
}

/// keep[h,i,j] / (1 - p) for every j of row i.
void dropout_row(const AttentionBlock& block, int head, std::int64_t i, std::vector<float>& scale) {
  const std::uint32_t threshold = dropout_threshold(block.dropout.probability);
  const float kept = 1.0F / (1.0F - block.dropout.probability);
  const std::uint32_t seed =
      dropout_row_seed(block.dropout.key, block.dropout.first_head + head, block.mask.q_position[i]);
  for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
    scale[static_cast<std::size_t>(j)] =
        threshold == 0 || dropout_keep(seed, block.mask.k_position[j], threshold) ? kept : 0.0F;
  }
}

void forward_head(const AttentionForward& work, int h) {
  const AttentionBlock& block = work.block;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const int D = block.head_dim;
  const int g = h / (block.heads / block.kv_heads);
  std::vector<float> score(static_cast<std::size_t>(block.kv_tokens));
  std::vector<float> drop(score.size());
  for (std::int64_t i = 0; i < block.q_tokens; ++i) {
    float* o = work.o + i * work.o_stride + h * D;
    float& lse = work.lse[h * block.q_tokens + i];
    const float* q = block.q + i * block.q_stride + h * D;
    float top = lse;
    for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
      float& s = score[static_cast<std::size_t>(j)];
      s = block.mask.allows(i, j) ? block.scale * dot(q, block.k + j * block.kv_stride + g * D, D) : kNone;
      top = std::max(top, s);
    }
    if (top == kNone) continue;
    dropout_row(block, h, i, drop);
    float sum = std::exp(lse - top);
    for (int d = 0; d < D; ++d) o[d] *= sum;
    for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
      const float p = std::exp(score[static_cast<std::size_t>(j)] - top);
      sum += p;
      const float kept = p * drop[static_cast<std::size_t>(j)];
      if (kept == 0) continue;
      const float* v = block.v + j * block.kv_stride + g * D;
      for (int d = 0; d < D; ++d) o[d] += kept * v[d];
    }
    for (int d = 0; d < D; ++d) o[d] /= sum;
    lse = top + std::log(sum);
  }
}

void backward_kv_head(const AttentionBackward& work, int g) {
  const AttentionBlock& block = work.block;
  const int D = block.head_dim;
  const int ratio = block.heads / block.kv_heads;
  std::vector<float> drop(static_cast<std::size_t>(block.kv_tokens));
  for (int h = g * ratio; h < (g + 1) * ratio; ++h) {
    for (std::int64_t i = 0; i < block.q_tokens; ++i) {
      const float* q = block.q + i * block.q_stride + h * D;
      const float* grad = work.d_o + i * work.o_stride + h * D;
      float* dq = work.dq + i * work.dq_stride + h * D;
      const float lse = work.lse[h * block.q_tokens + i];
      const float delta = work.delta[h * block.q_tokens + i];
      dropout_row(block, h, i, drop);
      for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
        if (!block.mask.allows(i, j)) continue;
        const float* k = block.k + j * block.kv_stride + g * D;
        const float* v = block.v + j * block.kv_stride + g * D;
        float* dk = work.dk + j * work.dkv_stride + g * D;
        float* dv = work.dv + j * work.dkv_stride + g * D;
        const float p = std::exp(block.scale * dot(q, k, D) - lse);
        const float kept = drop[static_cast<std::size_t>(j)];
        const float ds = block.scale * p * (kept * dot(grad, v, D) - delta);
        for (int d = 0; d < D; ++d) {
          dv[d] += p * kept * grad[d];
          dk[d] += ds * q[d];
          dq[d] += ds * k[d];
        }
      }
    }
  }
}

}  // namespace

void attention_forward(std::span<const AttentionForward> work) {
  for (const AttentionForward& item : work) {
    parallel_for(item.block.heads, [&](std::int64_t h) { forward_head(item, static_cast<int>(h)); });
  }
}

void attention_backward(std::span<const AttentionBackward> work) {
  for (const AttentionBackward& item : work) {
    parallel_for(item.block.kv_heads, [&](std::int64_t g) { backward_kv_head(item, static_cast<int>(g)); });
  }
}

}  // namespace tessera::kernels
