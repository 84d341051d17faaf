#include "runtime/model/generator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "algos/base/require.h"
#include "kernels/attention/attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/norm/rmsnorm.h"
#include "runtime/model/activations.h"
#include "runtime/model/decoder_layer.h"
#include "runtime/model/lm_head.h"
#include "runtime/model/rotary.h"

namespace tessera::runtime {
namespace {

/// One layer's worth of activations serves all layers: nothing is kept for a backward pass.
struct InferenceBuffers {
  InferenceBuffers(const planner::ModelSpec& spec, std::int64_t rows) {
    const std::int64_t query = rows * spec.heads * spec.head_dim;
    const std::int64_t key = rows * spec.kv_heads * spec.head_dim;
    Arena arena;
    arena.reserve(&layer.input, rows * spec.hidden_size);
    arena.reserve(&layer.normed1, rows * spec.hidden_size);
    arena.reserve(&layer.rstd1, rows);
    arena.reserve(&layer.q, query);
    arena.reserve(&layer.o, query);
    arena.reserve(&layer.lse, rows * spec.heads);
    arena.reserve(&layer.middle, rows * spec.hidden_size);
    arena.reserve(&layer.normed2, rows * spec.hidden_size);
    arena.reserve(&layer.rstd2, rows);
    arena.reserve(&layer.gate_up, rows * 2 * spec.intermediate_size);
    arena.reserve(&scratch.qkv, query + 2 * key);
    arena.reserve(&scratch.update, rows * spec.hidden_size);
    arena.reserve(&scratch.act, rows * spec.intermediate_size);
    memory = arena.allocate();
  }
  LayerActivations layer;  // k and v point into the cache
  LayerScratch scratch;
  kernels::Buffer<float> memory;
};

}  // namespace

struct Generator::Impl {
  Impl(const planner::ModelSpec& model, const ParameterLayout& layout, const float* weights,
       std::int64_t tokens)
      : spec(model),
        parameters(weights),
        capacity(tokens),
        eps(static_cast<float>(model.rms_norm_eps)),
        embedding(layout.find("model.embed_tokens.weight").offset),
        final_norm(layout.find("model.norm.weight").offset),
        head(model, layout, 1),
        rotary(model, std::min(tokens, kPrefillRows)),
        buffers(model, std::min(tokens, kPrefillRows)),
        cache(2 * model.layers * tokens * model.kv_heads * model.head_dim),
        positions(tokens),
        logits(model.vocab_size) {
    TS_REQUIRE(capacity >= 1, capacity);
    for (int l = 0; l < model.layers; ++l) layers.emplace_back(model, layout, l);
    std::iota(positions.data(), positions.data() + capacity, 0);
  }

  /// [capacity, G, d]; which: 0 keys, 1 values.
  float* cached(int layer, int which) {
    return cache.data() + (2 * layer + which) * capacity * spec.kv_heads * spec.head_dim;
  }

  void attend(int layer, const LayerActivations& a, std::int64_t rows);
  /// One piece of the prompt, or one new token: hidden states of its rows in layer.normed1.
  void advance(std::span<const std::int32_t> tokens);

  planner::ModelSpec spec;
  const float* parameters;
  std::int64_t capacity;
  float eps;
  std::int64_t embedding;
  std::int64_t final_norm;
  std::vector<DecoderLayer> layers;
  LmHead head;
  Rotary rotary;
  InferenceBuffers buffers;
  kernels::Buffer<float> cache;
  kernels::Buffer<std::int32_t> positions;  // 0, 1, 2, ...
  kernels::Buffer<float> logits;            // [V]
  std::int64_t length = 0;
};

void Generator::Impl::attend(int layer, const LayerActivations& a, std::int64_t rows) {
  const std::int64_t q_width = std::int64_t{spec.heads} * spec.head_dim;
  const std::int64_t kv_width = std::int64_t{spec.kv_heads} * spec.head_dim;
  std::fill_n(a.o, rows * q_width, 0.0F);
  std::fill_n(a.lse, rows * spec.heads, -std::numeric_limits<float>::infinity());
  kernels::AttentionForward work;
  work.block = {.q = a.q,
                .k = cached(layer, 0),
                .v = cached(layer, 1),
                .q_tokens = rows,
                .kv_tokens = length + rows,
                .q_stride = q_width,
                .kv_stride = kv_width,
                .heads = spec.heads,
                .kv_heads = spec.kv_heads,
                .head_dim = spec.head_dim,
                .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim))),
                .mask = {.q_position = positions.data() + length, .k_position = positions.data()},
                .dropout = {}};
  work.o = a.o;
  work.o_stride = q_width;
  work.lse = a.lse;
  kernels::attention_forward({&work, 1});
}

void Generator::Impl::advance(std::span<const std::int32_t> tokens) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  const std::int64_t cached_floats = length * spec.kv_heads * spec.head_dim;
  rotary.set_positions(length, rows);
  LayerActivations a = buffers.layer;
  const LayerScratch& scratch = buffers.scratch;
  const TensorParallel alone(nullptr, rows);
  kernels::embedding_forward(a.input, parameters + embedding, tokens.data(), rows, spec.hidden_size);
  const float* residual = a.input;
  const float* update = nullptr;
  for (int l = 0; l < spec.layers; ++l) {
    const DecoderLayer& layer = layers[static_cast<std::size_t>(l)];
    a.k = cached(l, 0) + cached_floats;
    a.v = cached(l, 1) + cached_floats;
    layer.before_attention(parameters, residual, update, a, scratch, rotary, alone);
    attend(l, a, rows);
    layer.after_attention(parameters, a, scratch, alone);
    residual = a.middle;
    update = scratch.update;
  }
  kernels::rmsnorm_forward(a.normed1, a.rstd1, a.input, residual, update, parameters + final_norm, rows,
                           spec.hidden_size, eps);
  length += rows;
}

Generator::Generator(const planner::ModelSpec& spec, const ParameterLayout& layout, const float* parameters,
                     std::int64_t capacity)
    : impl_(std::make_unique<Impl>(spec, layout, parameters, capacity)) {}

Generator::~Generator() = default;

std::span<const float> Generator::feed(std::span<const std::int32_t> tokens, float* every_logits) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  TS_REQUIRE(count >= 1 && impl_->length + count <= impl_->capacity, count, impl_->length, impl_->capacity);
  for (const std::int32_t token : tokens) {
    TS_REQUIRE(token >= 0 && token < impl_->spec.vocab_size, token, impl_->spec.vocab_size);
  }
  const float* hidden = impl_->buffers.layer.normed1;
  std::int64_t rows = 0;
  for (std::int64_t begin = 0; begin < count; begin += rows) {
    rows = std::min(kPrefillRows, count - begin);
    impl_->advance(tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(rows)));
    if (every_logits != nullptr) {
      impl_->head.logits(every_logits + begin * impl_->spec.vocab_size, impl_->parameters, hidden, rows);
    }
  }
  impl_->head.logits(impl_->logits.data(), impl_->parameters, hidden + (rows - 1) * impl_->spec.hidden_size,
                     1);
  return impl_->logits.span();
}

void Generator::reset() { impl_->length = 0; }

std::int64_t Generator::length() const { return impl_->length; }

}  // namespace tessera::runtime
