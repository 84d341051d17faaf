/// The Llama transformer of one rank: hand-written forward and backward over a chunk of the sequence.
/// Semantics are Hugging Face's LlamaForCausalLM; each rank holds all layers and its own tokens, and only
/// attention talks to other ranks, through the MeshAttention it is given.
///
/// Legend    B sequences, c this rank's tokens per sequence, T = B * c rows, D hidden, F intermediate.
/// Positions are those of the whole sequence (MeshAttention::positions), documents or not, as in Hugging Face
///           without position_ids.
/// Dropout   attention_dropout of the spec, in forward_backward only. Keys are a function of (dropout_key,
///           layer, sequence), so every layout drops the same probabilities.
/// Memory    activations of a micro-batch and all scratch live in buffers allocated in the constructor;
///           activations.h counts them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/model/lm_head.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

/// One micro-batch as this rank sees it.
struct MicroBatch {
  std::span<const std::int32_t> tokens;  // [B, c]
  std::span<const std::int32_t> labels;  // [B, c], kIgnoredLabel where no loss is taken
  AttentionCall attention;               // documents; dropout keys are derived per layer from dropout_key
  std::uint64_t dropout_key = 0;         // seed, step and micro-batch, mixed
  std::span<const std::int64_t> sequence_ids;  // [B] global numbers, for dropout keys; empty: 0 .. B-1
};

class Transformer {
 public:
  /// `attention` must have been made with the model's heads and dropout and live as long as this; batch is
  /// its dims.batch. `recompute` keeps each layer's input and attention's result, and computes the rest again
  /// in the backward pass: no transfer is repeated and the result is the same bit for bit.
  Transformer(const planner::ModelSpec& spec, const ParameterLayout& layout, MeshAttention& attention,
              std::int64_t batch, bool recompute);
  ~Transformer();
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Forward and backward; gradients of the *sum* of token losses are added into `gradients` (flat, same
  /// layout). The caller divides once by the global label count.
  LossSum forward_backward(const float* parameters, float* gradients, const MicroBatch& batch);
  /// Forward only.
  LossSum evaluate(const float* parameters, const MicroBatch& batch);
  /// Forward only; logits of every token, [B, c, V].
  void logits(const float* parameters, const MicroBatch& batch, float* out);

  /// Called during forward_backward with ranges of the flat buffer to whose gradients this call adds nothing
  /// any more: first the head with the final norm, then layers from the last to the first, then the
  /// embedding. Together the ranges are the whole buffer, each float once. Null: no calls.
  void set_gradient_hook(std::function<void(std::int64_t offset, std::int64_t count)> hook);

  /// Bytes of the buffers this object holds.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::runtime
