/// One rank's stage of the Llama transformer: hand-written forward and backward of a run of layers over a
/// chunk of the sequence, for the micro-batches a pipeline keeps in flight. Semantics are Hugging Face's
/// LlamaForCausalLM. Attention talks to the context-parallel ranks through the MeshAttention it is given, the
/// rest to the tensor-parallel ranks; what passes between stages is the caller's (input, output and their
/// gradients lie in buffers here).
///
/// Legend    B sequences, c this rank's tokens per sequence, T = B * c rows, S its own rows of the residual
///           stream (tensor_parallel.h), D hidden.
/// Order     for each micro-batch: forward(slot), then backward(slot) while the slot is its own; with a head,
///           backward(slot) before another forward. Any interleaving of slots besides.
/// Positions are those of the whole sequence (MeshAttention::positions), documents or not, as in Hugging Face
///           without position_ids.
/// Dropout   attention_dropout of the spec, in training only. Keys are a function of (dropout_key, layer of
///           the model, sequence), so every layout and every cut drops the same probabilities.
/// Memory    all in buffers allocated in the constructor; activations.h counts them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/model/lm_head.h"
#include "runtime/model/model_slice.h"
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

struct StageConfig {
  ModelSlice slice;
  std::int64_t batch = 1;  // B
  int slots = 1;           // micro-batches in flight
  /// Per layer of the slice; what is computed again is the same bit for bit. kFull repeats attention's
  /// transfers.
  std::vector<planner::Recompute> recompute;
};

class TransformerStage {
 public:
  /// `layout` is that of the slice. `attention` must have been made with the rank's heads (of its tensor
  /// block) and dropout. `tensor`: the tensor-parallel ranks, null for one. All must outlive this.
  TransformerStage(const planner::ModelSpec& spec, const ParameterLayout& layout, MeshAttention& attention,
                   Communicator* tensor, const StageConfig& config);
  ~TransformerStage();
  TransformerStage(const TransformerStage&) = delete;
  TransformerStage& operator=(const TransformerStage&) = delete;

  /// From the tokens, or from input(slot) without an embedding; leaves output(slot) without a head.
  void forward(const float* parameters, const MicroBatch& batch, int slot, bool training);
  /// From the labels, or from output_gradient(slot) without a head; leaves input_gradient(slot) without an
  /// embedding. Gradients of the *sum* of token losses are added into `gradients` (flat, same layout); those
  /// of norms come from the rank's own rows: their sum over the tensor ranks is the caller's.
  LossSum backward(const float* parameters, float* gradients, const MicroBatch& batch, int slot);
  /// After forward() on a stage with head.
  LossSum loss(const float* parameters, const MicroBatch& batch);
  /// The same; [T, V]. One tensor rank.
  void logits(const float* parameters, float* out);

  /// [S, D] each; see forward and backward.
  [[nodiscard]] std::span<float> input(int slot);
  [[nodiscard]] std::span<float> output(int slot);
  [[nodiscard]] std::span<float> output_gradient(int slot);
  [[nodiscard]] std::span<float> input_gradient(int slot);

  /// Called during backward() with ranges of the flat buffer to whose gradients this call adds nothing any
  /// more: first the head with the final norm, then layers from the last to the first, then what comes before
  /// them. Together the ranges are the whole buffer, each float once. Null: no calls.
  void set_gradient_hook(std::function<void(std::int64_t offset, std::int64_t count)> hook);

  [[nodiscard]] const ModelSlice& slice() const;
  /// Layers computed again so far; the last of a micro-batch need not be, when nothing came in between.
  [[nodiscard]] std::int64_t recomputations() const;
  /// Bytes of the buffers this object holds.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::runtime
