/// AdamW with decoupled weight decay. Loshchilov & Hutter 2019, arXiv:1711.05101; PyTorch's convention.
///   g <- gradient_scale * gradient
///   m <- beta1 m + (1-beta1) g,   v <- beta2 v + (1-beta2) g^2
///   p <- p - lr * weight_decay * p
///   p <- p - lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
/// Elementwise over n; step counts from 1. The bias corrections are formed in double.
/// Oracle    adamw_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

struct AdamwStep {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0;  // 0 for vectors (norm weights), the configured value for matrices
  std::int64_t step = 1;
  double gradient_scale = 1;  // clipping and the division by the token count
};

void adamw(float* p, float* m, float* v, const float* gradient, std::int64_t n, const AdamwStep& step);
void adamw_ref(double* p, double* m, double* v, const double* gradient, std::int64_t n,
               const AdamwStep& step);

/// sum_i x[i]^2 in double, in a fixed order: the gradient norm's local part.
[[nodiscard]] double sum_of_squares(const float* x, std::int64_t n);

}  // namespace tessera::kernels
