#include "runtime/model/decoder_layer.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/mlp/swiglu.h"
#include "kernels/norm/rmsnorm.h"

namespace tessera::runtime {
namespace {

std::string in_layer(int index, const char* name) {
  return fmt::format("model.layers.{}.{}.weight", index, name);
}

}  // namespace

DecoderLayer::DecoderLayer(const planner::ModelSpec& spec, const ParameterLayout& layout, int index)
    : qkv_(layout, {in_layer(index, "self_attn.q_proj"), in_layer(index, "self_attn.k_proj"),
                    in_layer(index, "self_attn.v_proj")}),
      o_proj_(layout, {in_layer(index, "self_attn.o_proj")}),
      gate_up_(layout, {in_layer(index, "mlp.gate_proj"), in_layer(index, "mlp.up_proj")}),
      down_proj_(layout, {in_layer(index, "mlp.down_proj")}),
      norm1_(layout.find(in_layer(index, "input_layernorm")).offset),
      norm2_(layout.find(in_layer(index, "post_attention_layernorm")).offset),
      hidden_(spec.hidden_size),
      intermediate_(spec.intermediate_size),
      eps_(static_cast<float>(spec.rms_norm_eps)) {}

void DecoderLayer::before_attention(const float* parameters, const float* residual, const float* update,
                                    const LayerActivations& a, const LayerScratch& scratch,
                                    const Rotary& rotary, const TensorParallel& tensor) const {
  kernels::rmsnorm_forward(tensor.own(a.normed1, hidden_), a.rstd1, a.input, residual, update,
                           parameters + norm1_, tensor.own_rows(), hidden_, eps_);
  tensor.gather(a.normed1, hidden_);
  qkv_.forward(scratch.qkv, a.normed1, tensor.rows(), parameters);
  rotary.unpack(a.q, a.k, a.v, scratch.qkv, tensor.rows());
}

void DecoderLayer::recompute_after_attention(const float* parameters, const LayerActivations& a,
                                             const LayerScratch& scratch,
                                             const TensorParallel& tensor) const {
  o_proj_.forward(scratch.update, a.o, tensor.rows(), parameters);
  tensor.reduce_scatter(scratch.update, hidden_);
  kernels::rmsnorm_forward(tensor.own(a.normed2, hidden_), a.rstd2, a.middle, a.input,
                           tensor.own(scratch.update, hidden_), parameters + norm2_, tensor.own_rows(),
                           hidden_, eps_);
  tensor.gather(a.normed2, hidden_);
  gate_up_.forward(a.gate_up, a.normed2, tensor.rows(), parameters);
}

void DecoderLayer::after_attention(const float* parameters, const LayerActivations& a,
                                   const LayerScratch& scratch, const TensorParallel& tensor) const {
  recompute_after_attention(parameters, a, scratch, tensor);
  kernels::swiglu_forward(scratch.act, a.gate_up, tensor.rows(), intermediate_);
  down_proj_.forward(scratch.update, scratch.act, tensor.rows(), parameters);
  tensor.reduce_scatter(scratch.update, hidden_);
}

void DecoderLayer::gather_d_stream(const LayerScratch& scratch, const TensorParallel& tensor) const {
  if (tensor.ranks() == 1) return;  // d_full is d_stream
  std::copy_n(scratch.d_stream, tensor.own_rows() * hidden_, tensor.own(scratch.d_full, hidden_));
  tensor.gather(scratch.d_full, hidden_);
}

void DecoderLayer::backward_after_attention(const float* parameters, float* gradients,
                                            const LayerActivations& a, const LayerScratch& scratch,
                                            const TensorParallel& tensor) const {
  const std::int64_t rows = tensor.rows();
  gather_d_stream(scratch, tensor);
  down_proj_.backward_input(scratch.d_act, scratch.d_full, rows, parameters);
  float* d_gate_up = a.gate_up;  // in place: nothing reads gate_up afterwards
  kernels::swiglu_backward(d_gate_up, scratch.act, scratch.d_act, a.gate_up, rows, intermediate_);
  down_proj_.backward_weight(gradients, scratch.d_full, scratch.act, rows);

  gate_up_.backward_weight(gradients, d_gate_up, a.normed2, rows);
  float* d_normed2 = scratch.update;
  gate_up_.backward_input(d_normed2, d_gate_up, rows, parameters);
  tensor.reduce_scatter(d_normed2, hidden_);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + norm2_, tensor.own(d_normed2, hidden_), a.middle,
                            a.rstd2, parameters + norm2_, tensor.own_rows(), hidden_);

  gather_d_stream(scratch, tensor);
  o_proj_.backward_weight(gradients, scratch.d_full, a.o, rows);
  o_proj_.backward_input(scratch.d_o, scratch.d_full, rows, parameters);
}

void DecoderLayer::backward_before_attention(const float* parameters, float* gradients,
                                             const LayerActivations& a, const LayerScratch& scratch,
                                             const Rotary& rotary, const TensorParallel& tensor) const {
  float* d_qkv = scratch.qkv;
  rotary.pack_gradient(d_qkv, scratch.dq, scratch.dk, scratch.dv, tensor.rows());
  qkv_.backward_weight(gradients, d_qkv, a.normed1, tensor.rows());
  float* d_normed1 = scratch.update;
  qkv_.backward_input(d_normed1, d_qkv, tensor.rows(), parameters);
  tensor.reduce_scatter(d_normed1, hidden_);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + norm1_, tensor.own(d_normed1, hidden_), a.input,
                            a.rstd1, parameters + norm1_, tensor.own_rows(), hidden_);
}

}  // namespace tessera::runtime
