#include <cmath>

#include "kernels/device/thread_pool.h"
#include "kernels/mlp/swiglu.h"

namespace tessera::kernels {

void swiglu_forward(float* y_TF, const float* gate_up_T2F, std::int64_t tokens, std::int64_t width) {
  parallel_ranges(tokens, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t f = 0; f < width; ++f) {
        const float gate = gate_up_T2F[t * 2 * width + f];
        const float up = gate_up_T2F[t * 2 * width + width + f];
        y_TF[t * width + f] = gate / (1.0F + std::exp(-gate)) * up;
      }
    }
  });
}

void swiglu_backward(float* d_gate_up_T2F, float* y_out_TF, const float* dy_TF, const float* gate_up_T2F,
                     std::int64_t tokens, std::int64_t width) {
  parallel_ranges(tokens, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t f = 0; f < width; ++f) {
        const std::int64_t at = t * 2 * width + f;
        const float gate = gate_up_T2F[at];
        const float up = gate_up_T2F[at + width];
        const float dy = dy_TF[t * width + f];
        const float s = 1.0F / (1.0F + std::exp(-gate));
        if (y_out_TF != nullptr) y_out_TF[t * width + f] = gate * s * up;
        d_gate_up_T2F[at] = dy * up * s * (1.0F + gate * (1.0F - s));
        d_gate_up_T2F[at + width] = dy * gate * s;
      }
    }
  });
}

}  // namespace tessera::kernels
