#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/device/thread_pool.h"

namespace tessera::kernels {

void attention_delta(float* delta_HT, const float* d_o, const float* o, std::int64_t tokens,
                     std::int64_t stride, int heads, int head_dim) {
  parallel_ranges(tokens, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (int h = 0; h < heads; ++h) {
        const float* a = d_o + t * stride + h * head_dim;
        const float* b = o + t * stride + h * head_dim;
        double sum = 0;
        for (int d = 0; d < head_dim; ++d) sum += static_cast<double>(a[d]) * b[d];
        delta_HT[h * tokens + t] = static_cast<float>(sum);
      }
    }
  });
}

void merge_partials(float* o1, float* lse1_HT, const float* o2, const float* lse2_HT, std::int64_t tokens,
                    int heads, int head_dim) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  parallel_ranges(tokens, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (int h = 0; h < heads; ++h) {
        float& lse1 = lse1_HT[h * tokens + t];
        const float lse2 = lse2_HT[h * tokens + t];
        if (lse2 == kNone) continue;  // also where both are: -inf minus -inf is no number
        float* a = o1 + (t * heads + h) * head_dim;
        const float* b = o2 + (t * heads + h) * head_dim;
        const float top = std::max(lse1, lse2);
        const float merged = top + std::log1p(std::exp(std::min(lse1, lse2) - top));
        const float w1 = std::exp(lse1 - merged);
        const float w2 = std::exp(lse2 - merged);
        for (int d = 0; d < head_dim; ++d) a[d] = w1 * a[d] + w2 * b[d];
        lse1 = merged;
      }
    }
  });
}

}  // namespace tessera::kernels
