/// One decoder layer of LlamaForCausalLM, around attention: what comes before it and what comes after it,
/// forward and backward. Attention itself is the caller's (MeshAttention in training, the key/value cache
/// in generation), and what tensor-parallel ranks exchange is TensorParallel's, so this file knows no ranks.
///
///   input  = residual + update                    (the previous layer's two halves of the stream)
///   q,k,v  = rotate(input_layernorm(input) Wqkv^T)
///   o      = attention(q, k, v)                                                        by the caller
///   middle = input + o Wo^T
///   update = (silu(gate) * up) Wdown^T,  gate,up = post_attention_layernorm(middle) Wgate_up^T
///   output = middle + update                      formed by the next norm, in one pass over memory
///
/// Tensor parallel, every rank computes all rows with its own heads and its own part of the feed-forward
/// width; the stream, the norms and `update` are of its own rows. Per layer the forward pass gathers twice
/// and reduces twice, the backward pass too; recomputation gathers twice and reduces once.
///
/// Shapes as in activations.h. Weight gradients are added into the flat gradient buffer; those of the norms
/// come from the rank's own rows and are to be summed over the tensor ranks.
#pragma once

#include <cstdint>

#include "planner/spec/model_spec.h"
#include "runtime/model/activations.h"
#include "runtime/model/linear.h"
#include "runtime/model/parameters.h"
#include "runtime/model/rotary.h"
#include "runtime/parallel/tensor_parallel.h"

namespace tessera::runtime {

class DecoderLayer {
 public:
  /// `spec`: the rank's own (local_spec); `index` counts the layers of the whole model.
  DecoderLayer(const planner::ModelSpec& spec, const ParameterLayout& layout, int index);

  /// Writes input, normed1, rstd1, q, k, v. `residual` and `update` are [S, D]; `update` may be null,
  /// `residual` may be a.input then.
  void before_attention(const float* parameters, const float* residual, const float* update,
                        const LayerActivations& a, const LayerScratch& scratch, const Rotary& rotary,
                        const TensorParallel& tensor) const;
  /// From o: writes middle, normed2, rstd2, gate_up, and the own block of scratch.update.
  void after_attention(const float* parameters, const LayerActivations& a, const LayerScratch& scratch,
                       const TensorParallel& tensor) const;

  /// Everything in `a` but input, o and lse again, bit for bit: from input, what comes before attention; from
  /// o, what comes after it.
  void recompute_before_attention(const float* parameters, const LayerActivations& a,
                                  const LayerScratch& scratch, const Rotary& rotary,
                                  const TensorParallel& tensor) const {
    before_attention(parameters, a.input, nullptr, a, scratch, rotary, tensor);
  }
  void recompute_after_attention(const float* parameters, const LayerActivations& a,
                                 const LayerScratch& scratch, const TensorParallel& tensor) const;

  /// scratch.d_stream comes in as the gradient of the output and leaves as that of `middle`; writes
  /// scratch.d_o. Overwrites a.gate_up.
  void backward_after_attention(const float* parameters, float* gradients, const LayerActivations& a,
                                const LayerScratch& scratch, const TensorParallel& tensor) const;
  /// From scratch.dq, dk, dv: scratch.d_stream leaves as the gradient of `input`.
  void backward_before_attention(const float* parameters, float* gradients, const LayerActivations& a,
                                 const LayerScratch& scratch, const Rotary& rotary,
                                 const TensorParallel& tensor) const;

  /// Where this layer's parameters start in the flat buffer, floats.
  [[nodiscard]] std::int64_t first_parameter() const { return norm1_; }

 private:
  /// The gradient of the stream of all rows, in scratch.d_full.
  void gather_d_stream(const LayerScratch& scratch, const TensorParallel& tensor) const;

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
