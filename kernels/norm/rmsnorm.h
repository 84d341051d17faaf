/// RMSNorm with the residual addition fused in. Zhang & Sennrich 2019, arXiv:1910.07467.
///   x[t,:] = residual[t,:] + update[t,:]       (update may be null: x = residual)
///   y[t,d] = w[d] * x[t,d] * rstd[t],   rstd[t] = 1 / sqrt(mean_d x[t,d]^2 + eps)
/// Shapes    T tokens, D width; row-major, contiguous; rstd is [T].
/// Requires  sum may alias residual; y may alias neither. T == 0 is a no-op.
/// Oracle    rmsnorm_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

void rmsnorm_forward(float* y_TD, float* rstd_T, float* sum_TD, const float* residual_TD,
                     const float* update_TD, const float* w_D, std::int64_t tokens, std::int64_t width,
                     float eps);

/// With g = dy * w:  dx[t,:] += rstd * (g - x * rstd^2 * mean_d(g x)),  dw += sum_t dy * x * rstd.
/// dx is added into, since x also feeds the residual path; dw is added into (gradient accumulation), in a
/// fixed order of tokens.
void rmsnorm_backward(float* dx_TD, float* dw_D, const float* dy_TD, const float* x_TD, const float* rstd_T,
                      const float* w_D, std::int64_t tokens, std::int64_t width);

void rmsnorm_forward_ref(double* y, double* rstd, double* sum, const float* residual, const float* update,
                         const float* w, std::int64_t tokens, std::int64_t width, double eps);
void rmsnorm_backward_ref(double* dx, double* dw, const float* dy, const float* x, const float* w,
                          std::int64_t tokens, std::int64_t width, double eps);

}  // namespace tessera::kernels
