/// One decoder layer of LlamaForCausalLM, around attention: what comes before it and what comes after it,
/// forward and backward. Attention itself is the caller's (MeshAttention in training, the key/value cache
/// in generation), so this file knows no ranks.
///
///   input  = residual + update                    (the previous layer's two halves of the stream)
///   q,k,v  = rotate(input_layernorm(input) Wqkv^T)
///   o      = attention(q, k, v)                                                        by the caller
///   middle = input + o Wo^T
///   update = (silu(gate) * up) Wdown^T,  gate,up = post_attention_layernorm(middle) Wgate_up^T
///   output = middle + update                      formed by the next norm, in one pass over memory
///
/// Shapes as in activations.h. Weight gradients are added into the flat gradient buffer.
#pragma once

#include <cstdint>

#include "planner/spec/model_spec.h"
#include "runtime/model/activations.h"
#include "runtime/model/linear.h"
#include "runtime/model/parameters.h"
#include "runtime/model/rotary.h"

namespace tessera::runtime {

class DecoderLayer {
 public:
  DecoderLayer(const planner::ModelSpec& spec, const ParameterLayout& layout, int index);

  /// Writes input, normed1, rstd1, q, k, v. `update` may be null; `residual` may be a.input then.
  void before_attention(const float* parameters, const float* residual, const float* update,
                        const LayerActivations& a, const LayerScratch& scratch, const Rotary& rotary,
                        std::int64_t rows) const;
  /// From o: writes middle, normed2, rstd2, gate_up, and scratch.update.
  void after_attention(const float* parameters, const LayerActivations& a, const LayerScratch& scratch,
                       std::int64_t rows) const;

  /// From input, o: everything else in `a` again, bit for bit.
  void recompute(const float* parameters, const LayerActivations& a, const LayerScratch& scratch,
                 const Rotary& rotary, std::int64_t rows) const;

  /// scratch.d_stream comes in as the gradient of the output and leaves as that of `middle`; writes
  /// scratch.d_o. Overwrites a.gate_up.
  void backward_after_attention(const float* parameters, float* gradients, const LayerActivations& a,
                                const LayerScratch& scratch, std::int64_t rows) const;
  /// From scratch.dq, dk, dv: scratch.d_stream leaves as the gradient of `input`.
  void backward_before_attention(const float* parameters, float* gradients, const LayerActivations& a,
                                 const LayerScratch& scratch, const Rotary& rotary, std::int64_t rows) const;

  /// Where this layer's parameters start in the flat buffer, floats.
  [[nodiscard]] std::int64_t first_parameter() const { return norm1_; }

 private:
  void up_to_gate_up(const float* parameters, const LayerActivations& a, const LayerScratch& scratch,
                     std::int64_t rows) const;

  Linear qkv_;
  Linear o_proj_;
  Linear gate_up_;
  Linear down_proj_;
  std::int64_t norm1_ = 0;  // offsets of the norm weights
  std::int64_t norm2_ = 0;
  std::int64_t hidden_ = 0;
  std::int64_t intermediate_ = 0;
  float eps_ = 0;
};

}  // namespace tessera::runtime
