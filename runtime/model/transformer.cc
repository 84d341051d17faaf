#include "runtime/model/transformer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "kernels/embedding/embedding.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/norm/rmsnorm.h"
#include "runtime/model/activations.h"
#include "runtime/model/decoder_layer.h"
#include "runtime/model/rotary.h"

namespace tessera::runtime {

struct Transformer::Impl {
  Impl(const planner::ModelSpec& spec, const ParameterLayout& layout, MeshAttention& attention,
       std::int64_t batch, bool recompute);

  void forward(const float* parameters, const MicroBatch& batch, bool training);
  LossSum backward(const float* parameters, float* gradients, const MicroBatch& batch);

  void require_shape(const MicroBatch& batch) const;
  void derive_dropout_keys(const MicroBatch& batch);
  [[nodiscard]] AttentionCall attention_call(const MicroBatch& batch, int layer, bool training) const;
  void announce(std::int64_t begin, std::int64_t end) const {
    if (gradient_hook) gradient_hook(begin, end - begin);
  }

  planner::ModelSpec spec;
  MeshAttention& attention;
  std::int64_t batch;
  std::int64_t rows;
  bool recompute;
  float eps;
  std::int64_t embedding;  // offsets
  std::int64_t final_norm;
  std::int64_t total;
  std::vector<DecoderLayer> layers;
  LmHead head;
  Rotary rotary;
  Activations activations;
  kernels::Buffer<std::uint64_t> dropout_keys;  // [L, B]
  std::function<void(std::int64_t, std::int64_t)> gradient_hook;
};

Transformer::Impl::Impl(const planner::ModelSpec& model, const ParameterLayout& layout, MeshAttention& mesh,
                        std::int64_t sequences, bool recompute_layers)
    : spec(model),
      attention(mesh),
      batch(sequences),
      rows(sequences * static_cast<std::int64_t>(mesh.positions().size())),
      recompute(recompute_layers),
      eps(static_cast<float>(model.rms_norm_eps)),
      embedding(layout.find("model.embed_tokens.weight").offset),
      final_norm(layout.find("model.norm.weight").offset),
      total(layout.total()),
      head(model, layout, rows),
      rotary(model, mesh.positions()),
      activations(model, rows, recompute_layers),
      dropout_keys(model.layers * sequences) {
  TS_REQUIRE(model.layers >= 1, model.layers);
  for (int l = 0; l < model.layers; ++l) layers.emplace_back(model, layout, l);
}

void Transformer::Impl::require_shape(const MicroBatch& b) const {
  TS_REQUIRE(static_cast<std::int64_t>(b.tokens.size()) == rows, b.tokens.size(), rows);
  TS_REQUIRE(b.sequence_ids.empty() || static_cast<std::int64_t>(b.sequence_ids.size()) == batch,
             b.sequence_ids.size(), batch);
  for (const std::int32_t token : b.tokens) {
    TS_REQUIRE(token >= 0 && token < spec.vocab_size, token, spec.vocab_size);
  }
}

void Transformer::Impl::derive_dropout_keys(const MicroBatch& b) {
  for (int l = 0; l < spec.layers; ++l) {
    const std::uint64_t layer_key = derive_key(b.dropout_key, static_cast<std::uint64_t>(l));
    for (std::int64_t s = 0; s < batch; ++s) {
      const std::int64_t id = b.sequence_ids.empty() ? s : b.sequence_ids[static_cast<std::size_t>(s)];
      dropout_keys[l * batch + s] = derive_key(layer_key, static_cast<std::uint64_t>(id));
    }
  }
}

AttentionCall Transformer::Impl::attention_call(const MicroBatch& b, int layer, bool training) const {
  AttentionCall call = b.attention;
  call.dropout_keys = {};
  if (training && spec.attention_dropout > 0) {
    call.dropout_keys = {dropout_keys.data() + layer * batch, static_cast<std::size_t>(batch)};
  }
  return call;
}

void Transformer::Impl::forward(const float* parameters, const MicroBatch& b, bool training) {
  require_shape(b);
  if (training) derive_dropout_keys(b);
  const LayerScratch& scratch = activations.scratch;
  float* embedded = activations.layers.front().input;
  kernels::embedding_forward(embedded, parameters + embedding, b.tokens.data(), rows, spec.hidden_size);

  // The residual stream travels as two halves, residual + update; the next norm adds them.
  const float* residual = embedded;
  const float* update = nullptr;
  for (int l = 0; l < spec.layers; ++l) {
    const DecoderLayer& layer = layers[static_cast<std::size_t>(l)];
    const LayerActivations& a = activations.layers[static_cast<std::size_t>(l)];
    layer.before_attention(parameters, residual, update, a, scratch, rotary, rows);
    attention.forward(a.q, a.k, a.v, a.o, a.lse, attention_call(b, l, training));
    layer.after_attention(parameters, a, scratch, rows);
    residual = a.middle;
    update = scratch.update;
  }
  kernels::rmsnorm_forward(activations.hidden, activations.final_rstd, activations.final_input, residual,
                           update, parameters + final_norm, rows, spec.hidden_size, eps);
}

LossSum Transformer::Impl::backward(const float* parameters, float* gradients, const MicroBatch& b) {
  const LayerScratch& scratch = activations.scratch;
  float* d_hidden = scratch.update;
  const LossSum loss = head.loss_and_gradient(parameters, gradients, activations.hidden, d_hidden, b.labels);
  std::fill_n(scratch.d_stream, rows * spec.hidden_size, 0.0F);
  kernels::rmsnorm_backward(scratch.d_stream, gradients + final_norm, d_hidden, activations.final_input,
                            activations.final_rstd, parameters + final_norm, rows, spec.hidden_size);
  announce(final_norm, total);

  std::int64_t end = final_norm;
  for (int l = spec.layers - 1; l >= 0; --l) {
    const DecoderLayer& layer = layers[static_cast<std::size_t>(l)];
    const LayerActivations& a = activations.layers[static_cast<std::size_t>(l)];
    // What the last layer computed is still there: nothing came after it.
    if (recompute && l != spec.layers - 1) layer.recompute(parameters, a, scratch, rotary, rows);
    layer.backward_after_attention(parameters, gradients, a, scratch, rows);
    attention.backward(a.q, a.k, a.v, a.o, a.lse, scratch.d_o, scratch.dq, scratch.dk, scratch.dv,
                       attention_call(b, l, true));
    layer.backward_before_attention(parameters, gradients, a, scratch, rotary, rows);
    announce(layer.first_parameter(), end);
    end = layer.first_parameter();
  }
  kernels::embedding_backward(gradients + embedding, scratch.d_stream, b.tokens.data(), rows,
                              spec.hidden_size, spec.vocab_size);
  announce(0, end);
  return loss;
}

Transformer::Transformer(const planner::ModelSpec& spec, const ParameterLayout& layout,
                         MeshAttention& attention, std::int64_t batch, bool recompute)
    : impl_(std::make_unique<Impl>(spec, layout, attention, batch, recompute)) {}

Transformer::~Transformer() = default;

LossSum Transformer::forward_backward(const float* parameters, float* gradients, const MicroBatch& batch) {
  TS_REQUIRE(batch.labels.size() == batch.tokens.size(), batch.labels.size(), batch.tokens.size());
  impl_->forward(parameters, batch, true);
  return impl_->backward(parameters, gradients, batch);
}

LossSum Transformer::evaluate(const float* parameters, const MicroBatch& batch) {
  TS_REQUIRE(batch.labels.size() == batch.tokens.size(), batch.labels.size(), batch.tokens.size());
  impl_->forward(parameters, batch, false);
  return impl_->head.loss(parameters, impl_->activations.hidden, batch.labels);
}

void Transformer::logits(const float* parameters, const MicroBatch& batch, float* out) {
  impl_->forward(parameters, batch, false);
  impl_->head.logits(out, parameters, impl_->activations.hidden, impl_->rows);
}

void Transformer::set_gradient_hook(std::function<void(std::int64_t, std::int64_t)> hook) {
  impl_->gradient_hook = std::move(hook);
}

std::int64_t Transformer::buffer_bytes() const {
  return static_cast<std::int64_t>(sizeof(float)) *
         (impl_->activations.memory.size() + impl_->head.buffer_floats());
}

}  // namespace tessera::runtime
