/// The Llama transformer of a rank that holds all layers: a TransformerStage that is first and last and has
/// one micro-batch in flight. Each rank has its own tokens, and only attention talks to other ranks.
#pragma once

#include <cstdint>
#include <functional>

#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/model/lm_head.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer_stage.h"

namespace tessera::runtime {

class Transformer {
 public:
  /// `attention` must have been made with the model's heads and dropout and live as long as this; batch is
  /// its dims.batch. `recompute`: of every layer, selective.
  Transformer(const planner::ModelSpec& spec, const ParameterLayout& layout, MeshAttention& attention,
              std::int64_t batch, bool recompute);

  /// Forward and backward; gradients of the *sum* of token losses are added into `gradients` (flat, same
  /// layout). The caller divides once by the global label count.
  LossSum forward_backward(const float* parameters, float* gradients, const MicroBatch& batch);
  /// Forward only.
  LossSum evaluate(const float* parameters, const MicroBatch& batch);
  /// Forward only; logits of every token, [B, c, V].
  void logits(const float* parameters, const MicroBatch& batch, float* out);

  /// TransformerStage::set_gradient_hook.
  void set_gradient_hook(std::function<void(std::int64_t offset, std::int64_t count)> hook);

  /// Bytes of the buffers this object holds.
  [[nodiscard]] std::int64_t buffer_bytes() const { return stage_.buffer_bytes(); }

 private:
  TransformerStage stage_;
};

}  // namespace tessera::runtime
