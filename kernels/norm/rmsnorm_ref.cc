#include <cmath>

#include "kernels/norm/rmsnorm.h"

namespace tessera::kernels {

void rmsnorm_forward_ref(double* y, double* rstd, double* sum, const float* residual, const float* update,
                         const float* w, std::int64_t tokens, std::int64_t width, double eps) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    double squares = 0;
    for (std::int64_t d = 0; d < width; ++d) {
      const std::int64_t at = t * width + d;
      const double x = static_cast<double>(residual[at]) + (update == nullptr ? 0.0 : update[at]);
      sum[at] = x;
      squares += x * x;
    }
    rstd[t] = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (std::int64_t d = 0; d < width; ++d) y[t * width + d] = w[d] * sum[t * width + d] * rstd[t];
  }
}

void rmsnorm_backward_ref(double* dx, double* dw, const float* dy, const float* x, const float* w,
                          std::int64_t tokens, std::int64_t width, double eps) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t row = t * width;
    double squares = 0;
    for (std::int64_t d = 0; d < width; ++d) squares += static_cast<double>(x[row + d]) * x[row + d];
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
    double dot = 0;
    for (std::int64_t d = 0; d < width; ++d) dot += static_cast<double>(dy[row + d]) * w[d] * x[row + d];
    const double mean = dot / static_cast<double>(width);
    for (std::int64_t d = 0; d < width; ++d) {
      const double g = static_cast<double>(dy[row + d]) * w[d];
      dx[row + d] += rstd * (g - x[row + d] * rstd * rstd * mean);
      dw[d] += static_cast<double>(dy[row + d]) * x[row + d] * rstd;
    }
  }
}

}  // namespace tessera::kernels
