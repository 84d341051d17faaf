#include <algorithm>
#include <cmath>

#include "kernels/device/thread_pool.h"
#include "kernels/loss/cross_entropy.h"

namespace tessera::kernels {

void cross_entropy(float* loss_T, float* logits_TV, std::int64_t ld, const std::int32_t* label_T,
                   std::int64_t tokens, std::int64_t vocabulary, float gradient_scale) {
  parallel_ranges(tokens, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = logits_TV + t * ld;
      if (label_T[t] == kIgnoredLabel) {
        loss_T[t] = 0;
        if (gradient_scale != 0) std::fill_n(row, vocabulary, 0.0F);
        continue;
      }
      const float largest = *std::max_element(row, row + vocabulary);
      double sum = 0;
      for (std::int64_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - largest);
      loss_T[t] = static_cast<float>(std::log(sum) + (largest - row[label_T[t]]));
      if (gradient_scale == 0) continue;
      const float scale = static_cast<float>(gradient_scale / sum);
      for (std::int64_t v = 0; v < vocabulary; ++v) row[v] = std::exp(row[v] - largest) * scale;
      row[label_T[t]] -= gradient_scale;
    }
  });
}

}  // namespace tessera::kernels
