#include <cmath>

#include "kernels/optim/adamw.h"

namespace tessera::kernels {

void adamw_ref(double* p, double* m, double* v, const double* gradient, std::int64_t n,
               const AdamwStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  for (std::int64_t i = 0; i < n; ++i) {
    const double g = step.gradient_scale * gradient[i];
    m[i] = step.beta1 * m[i] + (1 - step.beta1) * g;
    v[i] = step.beta2 * v[i] + (1 - step.beta2) * g * g;
    p[i] -= step.learning_rate * step.weight_decay * p[i];
    p[i] -= step.learning_rate * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + step.eps);
  }
}

}  // namespace tessera::kernels
