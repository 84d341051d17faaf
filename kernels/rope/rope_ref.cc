#include <cmath>

#include "kernels/rope/rope.h"

namespace tessera::kernels {

void rope_ref(double* y_THD, const float* x_THD, std::int64_t token_stride, const std::int32_t* position_T,
              const double* inv_freq_I, std::int64_t tokens, int heads, int head_dim) {
  const int half = head_dim / 2;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (int h = 0; h < heads; ++h) {
      const float* x = x_THD + t * token_stride + static_cast<std::int64_t>(h) * head_dim;
      double* y = y_THD + (t * heads + h) * head_dim;
      for (int i = 0; i < half; ++i) {
        const double angle = position_T[t] * inv_freq_I[i];
        y[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
        y[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
      }
    }
  }
}

}  // namespace tessera::kernels
