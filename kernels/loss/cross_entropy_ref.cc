#include <algorithm>
#include <cmath>

#include "kernels/loss/cross_entropy.h"

namespace tessera::kernels {

void cross_entropy_ref(double* loss, double* d_logits_TV, const float* logits, std::int64_t ld,
                       const std::int32_t* label, std::int64_t tokens, std::int64_t vocabulary,
                       double gradient_scale) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* row = logits + t * ld;
    double* gradient = d_logits_TV + t * vocabulary;
    if (label[t] == kIgnoredLabel) {
      loss[t] = 0;
      std::fill_n(gradient, vocabulary, 0.0);
      continue;
    }
    const double largest = *std::max_element(row, row + vocabulary);
    double sum = 0;
    for (std::int64_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - largest);
    loss[t] =
        std::log(sum) + (largest - row[label[t]]);  // in this order: log(sum) is lost beside a large maximum
    for (std::int64_t v = 0; v < vocabulary; ++v) {
      const double p = std::exp(row[v] - largest) / sum;
      gradient[v] = gradient_scale * (p - (v == label[t] ? 1.0 : 0.0));
    }
  }
}

}  // namespace tessera::kernels
