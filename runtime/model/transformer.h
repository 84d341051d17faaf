/// The Llama transformer of one rank: hand-written forward and backward over a chunk of the sequence.
/// Semantics are Hugging Face's LlamaForCausalLM; each rank holds all layers and its own tokens, and only
/// attention talks to other ranks, through the MeshAttention it is given.
///
/// Legend    B sequences, c this rank's tokens per sequence, T = B * c rows, D hidden, F intermediate.
/// Memory    activations of a micro-batch and all scratch live in buffers allocated in the constructor.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

/// One micro-batch as this rank sees it.
struct MicroBatch {
  std::span<const std::int32_t> tokens;  // [B, c]
  std::span<const std::int32_t> labels;  // [B, c], kIgnoredLabel where no loss is taken
  AttentionCall attention;               // documents; dropout keys are derived per layer from dropout_key
  std::uint64_t dropout_key = 0;         // seed, step and micro-batch, mixed
  std::span<const std::int64_t> sequence_ids;  // [B] global numbers, for dropout keys; may be empty
};

/// Sums over this rank's tokens.
struct LossSum {
  double loss = 0;          // natural log
  std::int64_t labels = 0;  // that were not ignored
};

class Transformer {
 public:
  /// `attention` must have been made with the model's heads and live as long as this; batch is its
  /// dims.batch. `recompute` keeps only each layer's input and recomputes the rest in the backward pass.
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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::runtime
