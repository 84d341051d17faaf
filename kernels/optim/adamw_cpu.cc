#include <cmath>

#include "kernels/device/thread_pool.h"
#include "kernels/optim/adamw.h"

namespace tessera::kernels {

void adamw(float* p, float* m, float* v, const float* gradient, std::int64_t n, const AdamwStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const float beta1 = static_cast<float>(step.beta1);
  const float rest1 = static_cast<float>(1 - step.beta1);
  const float beta2 = static_cast<float>(step.beta2);
  const float rest2 = static_cast<float>(1 - step.beta2);
  const float scale = static_cast<float>(step.gradient_scale);
  const float decay = static_cast<float>(1 - step.learning_rate * step.weight_decay);
  const float rate = static_cast<float>(step.learning_rate / correction1);
  const float root = static_cast<float>(1 / std::sqrt(correction2));
  const float eps = static_cast<float>(step.eps);
  parallel_ranges(n, 8192, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = scale * gradient[i];
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      p[i] = decay * p[i] - rate * m[i] / (std::sqrt(v[i]) * root + eps);
    }
  });
}

double sum_of_squares(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace tessera::kernels
