#include "runtime/model/transformer_stage.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "kernels/norm/rmsnorm.h"
#include "runtime/model/activations.h"
#include "runtime/model/decoder_layer.h"
#include "runtime/model/rotary.h"
#include "runtime/model/token_embedding.h"
#include "runtime/parallel/tensor_parallel.h"

namespace tessera::runtime {

struct TransformerStage::Impl {
  Impl(const planner::ModelSpec& model, const ParameterLayout& layout, MeshAttention& mesh,
       Communicator* tensor_comm, const StageConfig& stage);

  void forward(const float* parameters, const MicroBatch& batch, int slot, bool training);
  LossSum backward(const float* parameters, float* gradients, const MicroBatch& batch, int slot);
  /// scratch.d_stream as the gradient of the last layer's output.
  LossSum head_backward(const float* parameters, float* gradients, const MicroBatch& batch);

  void require_shape(const MicroBatch& batch) const;
  [[nodiscard]] AttentionCall attention_call(const MicroBatch& batch, int layer, bool training);
  [[nodiscard]] std::span<float> stream(float* values) const {
    return {values, static_cast<std::size_t>(tensor.block_rows() * spec.hidden_size)};
  }
  [[nodiscard]] ActivationSlot& at(int slot) {
    TS_REQUIRE(0 <= slot && slot < static_cast<int>(activations.slots.size()), slot);
    return activations.slots[static_cast<std::size_t>(slot)];
  }
  void announce(std::int64_t begin, std::int64_t end) const {
    if (gradient_hook && begin < end) gradient_hook(begin, end - begin);
  }

  planner::ModelSpec full;
  planner::ModelSpec spec;  // this rank's
  StageConfig config;
  MeshAttention& attention;
  TensorParallel tensor;
  float eps;
  std::int64_t final_norm = 0;  // offset
  std::int64_t total;
  std::vector<DecoderLayer> layers;
  std::unique_ptr<TokenEmbedding> embedding;
  std::unique_ptr<LmHead> head;
  Rotary rotary;
  Activations activations;
  std::vector<std::uint64_t> dropout_keys;  // [B], of one layer
  // Whose results lie in the buffers that recomputing layers share: nothing to recompute for that one.
  int shared_slot = -1;
  int shared_layer = -1;
  std::int64_t recomputations = 0;
  std::function<void(std::int64_t, std::int64_t)> gradient_hook;
};

TransformerStage::Impl::Impl(const planner::ModelSpec& model, const ParameterLayout& layout,
                             MeshAttention& mesh, Communicator* tensor_comm, const StageConfig& stage)
    : full(model),
      spec(local_spec(model, stage.slice)),
      config(stage),
      attention(mesh),
      tensor(tensor_comm, stage.batch * static_cast<std::int64_t>(mesh.positions().size())),
      eps(static_cast<float>(model.rms_norm_eps)),
      total(layout.total()),
      rotary(spec, mesh.positions()),
      activations(spec, stage.slice, tensor, stage.slots, stage.recompute),
      dropout_keys(static_cast<std::size_t>(stage.batch)) {
  TS_REQUIRE(tensor.ranks() == stage.slice.tensor_ranks && tensor.rank() == stage.slice.tensor_rank,
             tensor.ranks(), tensor.rank(), stage.slice.tensor_ranks, stage.slice.tensor_rank);
  TS_REQUIRE(stage.slice.layers >= 1 && stage.slots >= 1, stage.slice.layers, stage.slots);
  for (int l = 0; l < spec.layers; ++l) layers.emplace_back(spec, layout, stage.slice.first_layer + l);
  if (stage.slice.embedding) embedding = std::make_unique<TokenEmbedding>(model, layout, stage.slice);
  if (stage.slice.head) {
    final_norm = layout.find("model.norm.weight").offset;
    head = std::make_unique<LmHead>(model, layout, tensor.rows(), stage.slice,
                                    tensor.ranks() > 1 ? tensor_comm : nullptr);
  }
}

void TransformerStage::Impl::require_shape(const MicroBatch& b) const {
  TS_REQUIRE(b.sequence_ids.empty() || static_cast<std::int64_t>(b.sequence_ids.size()) == config.batch,
             b.sequence_ids.size(), config.batch);
  if (!embedding) return;
  TS_REQUIRE(static_cast<std::int64_t>(b.tokens.size()) == tensor.rows(), b.tokens.size(), tensor.rows());
  for (const std::int32_t token : b.tokens) {
    TS_REQUIRE(token >= 0 && token < full.vocab_size, token, full.vocab_size);
  }
}

AttentionCall TransformerStage::Impl::attention_call(const MicroBatch& b, int layer, bool training) {
  AttentionCall call = b.attention;
  call.dropout_keys = {};
  if (!training || full.attention_dropout == 0) return call;
  const std::uint64_t layer_key =
      derive_key(b.dropout_key, static_cast<std::uint64_t>(config.slice.first_layer + layer));
  for (std::size_t s = 0; s < dropout_keys.size(); ++s) {
    const auto id = b.sequence_ids.empty() ? s : static_cast<std::uint64_t>(b.sequence_ids[s]);
    dropout_keys[s] = derive_key(layer_key, id);
  }
  call.dropout_keys = dropout_keys;
  return call;
}

void TransformerStage::Impl::forward(const float* parameters, const MicroBatch& b, int slot, bool training) {
  require_shape(b);
  const LayerScratch& scratch = activations.scratch;
  ActivationSlot& kept = at(slot);
  float* input = kept.layers.front().input;
  if (embedding) embedding->forward(input, parameters, b.tokens, scratch.update, tensor);

  // The residual stream travels as two halves, residual + update; the next norm adds them.
  const float* residual = input;
  const float* update = nullptr;
  for (int l = 0; l < spec.layers; ++l) {
    const auto index = static_cast<std::size_t>(l);
    const LayerActivations& a = kept.layers[index];
    layers[index].before_attention(parameters, residual, update, a, scratch, rotary, tensor);
    attention.forward(a.q, a.k, a.v, a.o, a.lse, attention_call(b, l, training));
    layers[index].after_attention(parameters, a, scratch, tensor);
    residual = a.middle;
    update = tensor.own(scratch.update, spec.hidden_size);
    if (config.recompute[index] != planner::Recompute::kNone) {
      shared_slot = slot;
      shared_layer = l;
    }
  }
  if (!head) {
    const std::int64_t floats = tensor.own_rows() * spec.hidden_size;
    std::transform(residual, residual + floats, update, kept.output, std::plus<>());
    return;
  }
  kernels::rmsnorm_forward(tensor.own(activations.hidden, spec.hidden_size), activations.final_rstd,
                           activations.final_input, residual, update, parameters + final_norm,
                           tensor.own_rows(), spec.hidden_size, eps);
  tensor.gather(activations.hidden, spec.hidden_size);
}

LossSum TransformerStage::Impl::head_backward(const float* parameters, float* gradients,
                                              const MicroBatch& b) {
  const LayerScratch& scratch = activations.scratch;
  float* d_hidden = scratch.update;
  const LossSum loss = head->loss_and_gradient(parameters, gradients, activations.hidden, d_hidden, b.labels);
  tensor.reduce_scatter(d_hidden, spec.hidden_size);
  std::fill_n(scratch.d_stream, tensor.own_rows() * spec.hidden_size, 0.0F);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + final_norm, tensor.own(d_hidden, spec.hidden_size),
                            activations.final_input, activations.final_rstd, parameters + final_norm,
                            tensor.own_rows(), spec.hidden_size);
  announce(final_norm, total);
  return loss;
}

LossSum TransformerStage::Impl::backward(const float* parameters, float* gradients, const MicroBatch& b,
                                         int slot) {
  const LayerScratch& scratch = activations.scratch;
  ActivationSlot& kept = at(slot);
  const std::int64_t stream_floats = tensor.own_rows() * spec.hidden_size;
  LossSum loss;
  std::int64_t end = total;
  if (head) {
    loss = head_backward(parameters, gradients, b);
    end = final_norm;
  } else {
    std::copy_n(kept.d_output, stream_floats, scratch.d_stream);
  }
  for (int l = spec.layers - 1; l >= 0; --l) {
    const auto index = static_cast<std::size_t>(l);
    const DecoderLayer& layer = layers[index];
    const LayerActivations& a = kept.layers[index];
    if (config.recompute[index] != planner::Recompute::kNone) {
      if (shared_slot != slot || shared_layer != l) {
        layer.recompute_before_attention(parameters, a, scratch, rotary, tensor);
        if (config.recompute[index] == planner::Recompute::kFull) {
          attention.forward(a.q, a.k, a.v, a.o, a.lse, attention_call(b, l, true));
        }
        layer.recompute_after_attention(parameters, a, scratch, tensor);
        ++recomputations;
      }
      shared_slot = -1;  // the backward pass overwrites gate_up
    }
    layer.backward_after_attention(parameters, gradients, a, scratch, tensor);
    attention.backward(a.q, a.k, a.v, a.o, a.lse, scratch.d_o, scratch.dq, scratch.dk, scratch.dv,
                       attention_call(b, l, true));
    layer.backward_before_attention(parameters, gradients, a, scratch, rotary, tensor);
    announce(layer.first_parameter(), end);
    end = layer.first_parameter();
  }
  if (embedding) {
    embedding->backward(gradients, scratch, b.tokens, tensor);
  } else {
    std::copy_n(scratch.d_stream, stream_floats, kept.d_input);
  }
  announce(0, end);
  return loss;
}

TransformerStage::TransformerStage(const planner::ModelSpec& spec, const ParameterLayout& layout,
                                   MeshAttention& attention, Communicator* tensor, const StageConfig& config)
    : impl_(std::make_unique<Impl>(spec, layout, attention, tensor, config)) {}

TransformerStage::~TransformerStage() = default;

void TransformerStage::forward(const float* parameters, const MicroBatch& batch, int slot, bool training) {
  impl_->forward(parameters, batch, slot, training);
}

LossSum TransformerStage::backward(const float* parameters, float* gradients, const MicroBatch& batch,
                                   int slot) {
  if (impl_->head) {
    TS_REQUIRE(static_cast<std::int64_t>(batch.labels.size()) == impl_->tensor.rows(), batch.labels.size(),
               impl_->tensor.rows());
  }
  return impl_->backward(parameters, gradients, batch, slot);
}

LossSum TransformerStage::loss(const float* parameters, const MicroBatch& batch) {
  TS_REQUIRE(impl_->head != nullptr);
  TS_REQUIRE(static_cast<std::int64_t>(batch.labels.size()) == impl_->tensor.rows(), batch.labels.size(),
             impl_->tensor.rows());
  return impl_->head->loss(parameters, impl_->activations.hidden, batch.labels);
}

void TransformerStage::logits(const float* parameters, float* out) {
  TS_REQUIRE(impl_->head != nullptr && impl_->tensor.ranks() == 1, impl_->tensor.ranks());
  impl_->head->logits(out, parameters, impl_->activations.hidden, impl_->tensor.rows());
}

std::span<float> TransformerStage::input(int slot) {
  return impl_->stream(impl_->at(slot).layers.front().input);
}

std::span<float> TransformerStage::output(int slot) {
  TS_REQUIRE(impl_->head == nullptr);
  return impl_->stream(impl_->at(slot).output);
}

std::span<float> TransformerStage::output_gradient(int slot) {
  TS_REQUIRE(impl_->head == nullptr);
  return impl_->stream(impl_->at(slot).d_output);
}

std::span<float> TransformerStage::input_gradient(int slot) {
  TS_REQUIRE(impl_->embedding == nullptr);
  return impl_->stream(impl_->at(slot).d_input);
}

void TransformerStage::set_gradient_hook(std::function<void(std::int64_t, std::int64_t)> hook) {
  impl_->gradient_hook = std::move(hook);
}

const ModelSlice& TransformerStage::slice() const { return impl_->config.slice; }

std::int64_t TransformerStage::recomputations() const { return impl_->recomputations; }

std::int64_t TransformerStage::buffer_bytes() const {
  const std::int64_t head = impl_->head ? impl_->head->buffer_floats() : 0;
  return static_cast<std::int64_t>(sizeof(float)) * (impl_->activations.memory.size() + head);
}

}  // namespace tessera::runtime
