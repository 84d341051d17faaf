#include "runtime/model/decoder_layer.h"

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
                                    const Rotary& rotary, std::int64_t rows) const {
  kernels::rmsnorm_forward(a.normed1, a.rstd1, a.input, residual, update, parameters + norm1_, rows, hidden_,
                           eps_);
  qkv_.forward(scratch.qkv, a.normed1, rows, parameters);
  rotary.unpack(a.q, a.k, a.v, scratch.qkv, rows);
}

void DecoderLayer::up_to_gate_up(const float* parameters, const LayerActivations& a,
                                 const LayerScratch& scratch, std::int64_t rows) const {
  o_proj_.forward(scratch.update, a.o, rows, parameters);
  kernels::rmsnorm_forward(a.normed2, a.rstd2, a.middle, a.input, scratch.update, parameters + norm2_, rows,
                           hidden_, eps_);
  gate_up_.forward(a.gate_up, a.normed2, rows, parameters);
}

void DecoderLayer::after_attention(const float* parameters, const LayerActivations& a,
                                   const LayerScratch& scratch, std::int64_t rows) const {
  up_to_gate_up(parameters, a, scratch, rows);
  kernels::swiglu_forward(scratch.act, a.gate_up, rows, intermediate_);
  down_proj_.forward(scratch.update, scratch.act, rows, parameters);
}

void DecoderLayer::recompute(const float* parameters, const LayerActivations& a, const LayerScratch& scratch,
                             const Rotary& rotary, std::int64_t rows) const {
  before_attention(parameters, a.input, nullptr, a, scratch, rotary, rows);
  up_to_gate_up(parameters, a, scratch, rows);
}

void DecoderLayer::backward_after_attention(const float* parameters, float* gradients,
                                            const LayerActivations& a, const LayerScratch& scratch,
                                            std::int64_t rows) const {
  down_proj_.backward_input(scratch.d_act, scratch.d_stream, rows, parameters);
  float* d_gate_up = a.gate_up;  // in place: nothing reads gate_up afterwards
  kernels::swiglu_backward(d_gate_up, scratch.act, scratch.d_act, a.gate_up, rows, intermediate_);
  down_proj_.backward_weight(gradients, scratch.d_stream, scratch.act, rows);

  gate_up_.backward_weight(gradients, d_gate_up, a.normed2, rows);
  float* d_normed2 = scratch.update;
  gate_up_.backward_input(d_normed2, d_gate_up, rows, parameters);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + norm2_, d_normed2, a.middle, a.rstd2,
                            parameters + norm2_, rows, hidden_);

  o_proj_.backward_weight(gradients, scratch.d_stream, a.o, rows);
  o_proj_.backward_input(scratch.d_o, scratch.d_stream, rows, parameters);
}

void DecoderLayer::backward_before_attention(const float* parameters, float* gradients,
                                             const LayerActivations& a, const LayerScratch& scratch,
                                             const Rotary& rotary, std::int64_t rows) const {
  float* d_qkv = scratch.qkv;
  rotary.pack_gradient(d_qkv, scratch.dq, scratch.dk, scratch.dv, rows);
  qkv_.backward_weight(gradients, d_qkv, a.normed1, rows);
  float* d_normed1 = scratch.update;
  qkv_.backward_input(d_normed1, d_qkv, rows, parameters);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + norm1_, d_normed1, a.input, a.rstd1,
                            parameters + norm1_, rows, hidden_);
}

}  // namespace tessera::runtime
