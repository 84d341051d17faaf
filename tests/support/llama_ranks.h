/// Runs the Transformer on ranks as threads and brings the pieces together: losses and gradients summed over
/// ranks, logits back in sequence order. Legend: B sequences of N tokens, n ranks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "algos/base/clock.h"
#include "planner/spec/model_spec.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/token_layout.h"
#include "runtime/comm/local_comm.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer.h"
#include "tests/support/llama_reference.h"

namespace tessera::support {

struct RankOptions {
  runtime::MeshShape shape;
  runtime::TokenLayout layout = runtime::TokenLayout::kZigzag;
  bool recompute = false;
};

/// What one rank needs: its MeshAttention, its Transformer, its share of the input.
class LlamaRank {
 public:
  LlamaRank(runtime::Communicator& comm, const planner::ModelSpec& spec,
            const runtime::ParameterLayout& layout, const LlamaInput& input, const RankOptions& options)
      : input_(input) {
    runtime::AttentionConfig config;
    config.dims = {input.batch, input.tokens_per_sequence, spec.heads, spec.kv_heads, spec.head_dim};
    config.shape = options.shape;
    config.layout = options.layout;
    config.dropout = static_cast<float>(spec.attention_dropout);
    auto made = runtime::MeshAttention::make(comm, config, clock_);
    if (!made.ok()) throw std::runtime_error(made.status().message());
    attention_ = std::move(made).value();
    transformer_ =
        std::make_unique<runtime::Transformer>(spec, layout, *attention_, input.batch, options.recompute);
    positions_.assign(attention_->positions().begin(), attention_->positions().end());
    for (std::int64_t b = 0; b < input.batch; ++b) {
      for (const std::int32_t position : positions_) {
        const auto at = static_cast<std::size_t>(b * input.tokens_per_sequence + position);
        tokens_.push_back(input.tokens[at]);
        if (!input.labels.empty()) labels_.push_back(input.labels[at]);
      }
    }
  }

  [[nodiscard]] runtime::Transformer& transformer() { return *transformer_; }
  [[nodiscard]] const std::vector<std::int32_t>& positions() const { return positions_; }
  [[nodiscard]] runtime::MicroBatch micro_batch() const {
    runtime::MicroBatch batch;
    batch.tokens = tokens_;
    batch.labels = labels_;
    batch.attention.documents = input_.documents;
    batch.dropout_key = input_.dropout_key;
    batch.sequence_ids = input_.sequence_ids;
    return batch;
  }

 private:
  const LlamaInput& input_;
  SystemClock clock_;
  std::unique_ptr<runtime::MeshAttention> attention_;
  std::unique_ptr<runtime::Transformer> transformer_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::int32_t> labels_;
};

struct LlamaResult {
  runtime::LossSum training;    // of forward_backward
  runtime::LossSum evaluation;  // of evaluate
  std::vector<float> gradients;
  std::vector<float> logits;  // [B, N, V]
};

inline LlamaResult run_llama(const planner::ModelSpec& spec, const runtime::ParameterLayout& layout,
                             const std::vector<float>& parameters, const LlamaInput& input,
                             const RankOptions& options = {}) {
  const auto total = static_cast<std::size_t>(layout.total());
  const auto vocabulary = static_cast<std::size_t>(spec.vocab_size);
  LlamaResult result;
  result.gradients.assign(total, 0.0F);
  result.logits.assign(input.tokens.size() * vocabulary, 0.0F);
  std::mutex mutex;
  runtime::run_local_ranks(options.shape.ranks(), [&](runtime::Communicator& comm) {
    LlamaRank rank(comm, spec, layout, input, options);
    const runtime::MicroBatch batch = rank.micro_batch();
    std::vector<float> gradients(total, 0.0F);
    std::vector<float> logits(batch.tokens.size() * vocabulary);
    runtime::LossSum training;
    runtime::LossSum evaluation;
    if (!input.labels.empty()) {
      training = rank.transformer().forward_backward(parameters.data(), gradients.data(), batch);
      evaluation = rank.transformer().evaluate(parameters.data(), batch);
    }
    rank.transformer().logits(parameters.data(), batch, logits.data());

    const std::lock_guard lock(mutex);
    result.training.loss += training.loss;
    result.training.labels += training.labels;
    result.evaluation.loss += evaluation.loss;
    result.evaluation.labels += evaluation.labels;
    for (std::size_t i = 0; i < total; ++i) result.gradients[i] += gradients[i];
    for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
      const std::size_t sequence = t / rank.positions().size();
      const auto position = static_cast<std::size_t>(rank.positions()[t % rank.positions().size()]);
      const std::size_t row = sequence * static_cast<std::size_t>(input.tokens_per_sequence) + position;
      std::copy_n(logits.begin() + static_cast<std::ptrdiff_t>(t * vocabulary), vocabulary,
                  result.logits.begin() + static_cast<std::ptrdiff_t>(row * vocabulary));
    }
  });
  return result;
}

}  // namespace tessera::support
