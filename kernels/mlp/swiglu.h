/// SwiGLU. Shazeer 2020, arXiv:2002.05202.
///   y[t,f] = silu(gate[t,f]) * up[t,f],   silu(z) = z / (1 + exp(-z))
/// Shapes    gate_up: [T, 2F], gate in columns [0, F), up in [F, 2F) (one fused product makes both);
///           y: [T, F].
/// Backward  d_gate_up is written (not added into) and may alias gate_up. y is recomputed into y_out when
///           that is not null, so the activation need not be kept.
/// Oracle    swiglu_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

void swiglu_forward(float* y_TF, const float* gate_up_T2F, std::int64_t tokens, std::int64_t width);
void swiglu_backward(float* d_gate_up_T2F, float* y_out_TF, const float* dy_TF, const float* gate_up_T2F,
                     std::int64_t tokens, std::int64_t width);

void swiglu_forward_ref(double* y, const float* gate_up, std::int64_t tokens, std::int64_t width);
void swiglu_backward_ref(double* d_gate_up, const float* dy, const float* gate_up, std::int64_t tokens,
                         std::int64_t width);

}  // namespace tessera::kernels
