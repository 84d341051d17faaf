#include <cmath>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/rope/rope.h"

namespace tessera::kernels {
namespace {

/// Bounded by memory: the compiler's plain vector code keeps up, so there is no dispatch here.
/// `sign` is +1 forward, -1 backward.
void rotate(float* x_THD, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
            std::int64_t tokens, int heads, int head_dim, float sign) {
  TS_REQUIRE(head_dim % 2 == 0, head_dim);
  TS_REQUIRE(token_stride >= static_cast<std::int64_t>(heads) * head_dim, token_stride, heads, head_dim);
  const std::int64_t half = head_dim / 2;
  const std::int64_t grain = 1 + 16384 / (1 + static_cast<std::int64_t>(heads) * head_dim);
  parallel_ranges(tokens, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* __restrict cosine = cos_TI + t * half;
      const float* __restrict sine = sin_TI + t * half;
      for (std::int64_t h = 0; h < heads; ++h) {
        float* __restrict low = x_THD + t * token_stride + h * head_dim;
        float* __restrict high = low + half;
        for (std::int64_t i = 0; i < half; ++i) {
          const float a = low[i];
          const float b = high[i];
          const float s = sign * sine[i];
          low[i] = a * cosine[i] - b * s;
          high[i] = b * cosine[i] + a * s;
        }
      }
    }
  });
}

}  // namespace

void rope_table(float* cos_TI, float* sin_TI, const std::int32_t* position_T, const double* inv_freq_I,
                std::int64_t tokens, std::int64_t half_dim) {
  constexpr std::int64_t kGrain = 16;  // a token costs half_dim sines and cosines
  parallel_ranges(tokens, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t i = 0; i < half_dim; ++i) {
        const double angle = position_T[t] * inv_freq_I[i];
        cos_TI[t * half_dim + i] = static_cast<float>(std::cos(angle));
        sin_TI[t * half_dim + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
}

void rope_forward(float* x_THD, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                  std::int64_t tokens, int heads, int head_dim) {
  rotate(x_THD, token_stride, cos_TI, sin_TI, tokens, heads, head_dim, 1.0F);
}

void rope_backward(float* dx_THD, std::int64_t token_stride, const float* cos_TI, const float* sin_TI,
                   std::int64_t tokens, int heads, int head_dim) {
  rotate(dx_THD, token_stride, cos_TI, sin_TI, tokens, heads, head_dim, -1.0F);
}

}  // namespace tessera::kernels
