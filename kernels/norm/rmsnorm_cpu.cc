#include <cmath>

#include "kernels/device/thread_pool.h"
#include "kernels/norm/rmsnorm.h"

namespace tessera::kernels {

void rmsnorm_forward(float* y_TD, float* rstd_T, float* sum_TD, const float* residual_TD,
                     const float* update_TD, const float* w_D, std::int64_t tokens, std::int64_t width,
                     float eps) {
  parallel_ranges(tokens, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      double squares = 0;
      for (std::int64_t d = t * width; d < (t + 1) * width; ++d) {
        sum_TD[d] = update_TD == nullptr ? residual_TD[d] : residual_TD[d] + update_TD[d];
        squares += static_cast<double>(sum_TD[d]) * sum_TD[d];
      }
      rstd_T[t] = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + eps));
      for (std::int64_t d = 0; d < width; ++d) {
        y_TD[t * width + d] = w_D[d] * sum_TD[t * width + d] * rstd_T[t];
      }
    }
  });
}

void rmsnorm_backward(float* dx_TD, float* dw_D, const float* dy_TD, const float* x_TD, const float* rstd_T,
                      const float* w_D, std::int64_t tokens, std::int64_t width) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* dy = dy_TD + t * width;
    const float* x = x_TD + t * width;
    const float rstd = rstd_T[t];
    double dot = 0;
    for (std::int64_t d = 0; d < width; ++d) dot += static_cast<double>(dy[d] * w_D[d]) * x[d];
    const float scale = static_cast<float>(dot / static_cast<double>(width)) * rstd * rstd;
    for (std::int64_t d = 0; d < width; ++d) {
      dx_TD[t * width + d] += rstd * (dy[d] * w_D[d] - x[d] * scale);
      dw_D[d] += dy[d] * x[d] * rstd;
    }
  }
}

}  // namespace tessera::kernels
