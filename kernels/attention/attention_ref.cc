#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/dropout.h"

namespace tessera::kernels {
namespace {

double dot(const float* a, const float* b, int count) {
  double sum = 0;
  for (int d = 0; d < count; ++d) sum += static_cast<double>(a[d]) * b[d];
  return sum;
}

/// keep[h,i,j] / (1 - p).
double dropout_scale(const AttentionBlock& block, int head, std::int64_t i, std::int64_t j) {
  const Dropout& dropout = block.dropout;
  if (dropout.probability == 0) return 1;
  const std::uint32_t seed =
      dropout_row_seed(dropout.key, dropout.first_head + head, block.mask.q_position[i]);
  const bool keep = dropout_keep(seed, block.mask.k_position[j], dropout_threshold(dropout.probability));
  return keep ? 1.0 / (1.0 - static_cast<double>(dropout.probability)) : 0.0;
}

}  // namespace

void attention_forward_ref(const AttentionBlock& block, double* o, double* lse) {
  const int D = block.head_dim;
  const double kNone = -std::numeric_limits<double>::infinity();
  std::vector<double> score(static_cast<std::size_t>(block.kv_tokens));
  for (int h = 0; h < block.heads; ++h) {
    const int g = h / (block.heads / block.kv_heads);
    for (std::int64_t i = 0; i < block.q_tokens; ++i) {
      double* o_row = o + (i * block.heads + h) * D;
      double& lse_row = lse[h * block.q_tokens + i];
      const float* q = block.q + i * block.q_stride + h * D;
      double top = lse_row;
      for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
        double& s = score[static_cast<std::size_t>(j)];
        s = block.mask.allows(i, j) ? block.scale * dot(q, block.k + j * block.kv_stride + g * D, D) : kNone;
        top = std::max(top, s);
      }
      if (top == kNone) continue;
      double sum = std::exp(lse_row - top);
      for (int d = 0; d < D; ++d) o_row[d] *= sum;
      for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
        const double p = std::exp(score[static_cast<std::size_t>(j)] - top);
        if (p == 0) continue;
        sum += p;
        const double kept = p * dropout_scale(block, h, i, j);
        const float* v = block.v + j * block.kv_stride + g * D;
        for (int d = 0; d < D; ++d) o_row[d] += kept * v[d];
      }
      for (int d = 0; d < D; ++d) o_row[d] /= sum;
      lse_row = top + std::log(sum);
    }
  }
}

void attention_backward_ref(const AttentionBlock& block, const float* d_o, std::int64_t o_stride,
                            const double* lse, const double* delta, double* dq, double* dk, double* dv) {
  const int D = block.head_dim;
  for (int h = 0; h < block.heads; ++h) {
    const int g = h / (block.heads / block.kv_heads);
    for (std::int64_t i = 0; i < block.q_tokens; ++i) {
      const float* q = block.q + i * block.q_stride + h * D;
      const float* grad = d_o + i * o_stride + h * D;
      for (std::int64_t j = 0; j < block.kv_tokens; ++j) {
        if (!block.mask.allows(i, j)) continue;
        const float* k = block.k + j * block.kv_stride + g * D;
        const float* v = block.v + j * block.kv_stride + g * D;
        const double p = std::exp(block.scale * dot(q, k, D) - lse[h * block.q_tokens + i]);
        const double kept = dropout_scale(block, h, i, j);
        const double ds = block.scale * p * (kept * dot(grad, v, D) - delta[h * block.q_tokens + i]);
        for (int d = 0; d < D; ++d) {
          dv[(j * block.kv_heads + g) * D + d] += p * kept * grad[d];
          dk[(j * block.kv_heads + g) * D + d] += ds * q[d];
          dq[(i * block.heads + h) * D + d] += ds * k[d];
        }
      }
    }
  }
}

}  // namespace tessera::kernels
