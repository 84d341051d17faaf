#include <cmath>

#include "kernels/mlp/swiglu.h"

namespace tessera::kernels {
namespace {

double sigmoid(double z) { return 1.0 / (1.0 + std::exp(-z)); }

}  // namespace

void swiglu_forward_ref(double* y, const float* gate_up, std::int64_t tokens, std::int64_t width) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t f = 0; f < width; ++f) {
      const double gate = gate_up[t * 2 * width + f];
      const double up = gate_up[t * 2 * width + width + f];
      y[t * width + f] = gate * sigmoid(gate) * up;
    }
  }
}

void swiglu_backward_ref(double* d_gate_up, const float* dy, const float* gate_up, std::int64_t tokens,
                         std::int64_t width) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t f = 0; f < width; ++f) {
      const std::int64_t at = t * 2 * width + f;
      const double gate = gate_up[at];
      const double up = gate_up[at + width];
      const double s = sigmoid(gate);
      d_gate_up[at] = dy[t * width + f] * up * s * (1 + gate * (1 - s));
      d_gate_up[at + width] = dy[t * width + f] * gate * s;
    }
  }
}

}  // namespace tessera::kernels
