/// Rotary position embedding, Hugging Face's half-split form. Su et al. 2021, arXiv:2104.09864.
///   y[t,h,i]       = x[t,h,i] * cos[t,i] - x[t,h,i+D/2] * sin[t,i]
///   y[t,h,i+D/2]   = x[t,h,i+D/2] * cos[t,i] + x[t,h,i] * sin[t,i]        i in [0, D/2)
///   cos[t,i] = cos(position[t] * inv_freq[i])
/// Shapes    x: [T, H, D] with a token stride in floats (heads of a token contiguous), D even;
///           tables: [T, D/2].
/// The backward of a rotation is the rotation by the opposite angle: rope_backward.
/// Oracle    rope_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

/// Fills cos_sin tables for the given absolute positions. Angles are formed in double: at 1M tokens a
/// float angle is off by 0.03 radians.
void rope_table(float* cos_TI, float* sin_TI, const std::int32_t* position_T, const double* inv_freq_I,
                std::int64_t tokens, std::int64_t half_dim);

void rope_forward(float* x_THD, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                  std::int64_t tokens, int heads, int head_dim);
void rope_backward(float* dx_THD, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                   std::int64_t tokens, int heads, int head_dim);

/// y[T, H, D] (double, contiguous) from x (float, strided). Angles and rotation in double.
void rope_ref(double* y_THD, const float* x_THD, std::int64_t token_stride, const std::int32_t* position_T,
              const double* inv_freq_I, std::int64_t tokens, int heads, int head_dim);

}  // namespace tessera::kernels
