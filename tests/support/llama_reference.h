/// LlamaForCausalLM in double, as plain loops: the oracle of runtime/model. Forward only; gradients are held
/// against its finite differences, so a mistake in a hand-written backward pass cannot hide in both.
/// Nothing is shared with the code under test but the parameter layout, the rotary frequencies (held
/// against PyTorch elsewhere) and the definition of the dropout mask.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/random.h"
#include "kernels/attention/dropout.h"
#include "kernels/loss/cross_entropy.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"

namespace tessera::support {

struct LlamaInput {
  std::int64_t batch = 1;
  std::int64_t tokens_per_sequence = 0;
  std::vector<std::int32_t> tokens;     // [B, N]
  std::vector<std::int32_t> labels;     // [B, N]
  std::vector<std::int32_t> documents;  // [B, N] or empty
  double dropout = 0;
  std::uint64_t dropout_key = 0;
  std::vector<std::int64_t> sequence_ids;  // [B] or empty: 0, 1, ...
};

struct LlamaOutput {
  double loss = 0;  // sum
  std::int64_t labels = 0;
  std::vector<double> logits;  // [B, N, V]
};

class LlamaReference {
 public:
  LlamaReference(const planner::ModelSpec& spec, const runtime::ParameterLayout& layout)
      : spec_(spec), layout_(layout), frequencies_(planner::rope_inverse_frequencies(spec)) {}

  [[nodiscard]] LlamaOutput run(const std::vector<double>& parameters, const LlamaInput& input) const {
    LlamaOutput output;
    for (std::int64_t b = 0; b < input.batch; ++b) run_sequence(parameters, input, b, output);
    return output;
  }

 private:
  using Rows = std::vector<std::vector<double>>;

  [[nodiscard]] const double* weight(const std::vector<double>& parameters, const std::string& name) const {
    return parameters.data() + layout_.find(name).offset;
  }

  static std::vector<double> product(const double* w, std::int64_t out, const std::vector<double>& x) {
    std::vector<double> y(static_cast<std::size_t>(out), 0.0);
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) y[i] += w[i * x.size() + j] * x[j];
    }
    return y;
  }

  [[nodiscard]] std::vector<double> norm(const double* w, const std::vector<double>& x) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(x.size()) + spec_.rms_norm_eps);
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = w[i] * x[i] * rstd;
    return y;
  }

  void rotate(std::vector<double>& x, int heads, std::int64_t position) const {
    const auto half = static_cast<std::size_t>(spec_.head_dim / 2);
    for (std::size_t h = 0; h < static_cast<std::size_t>(heads); ++h) {
      double* head = x.data() + h * 2 * half;
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(position) * frequencies_[i];
        const double first = head[i];
        const double second = head[i + half];
        head[i] = first * std::cos(angle) - second * std::sin(angle);
        head[i + half] = second * std::cos(angle) + first * std::sin(angle);
      }
    }
  }

  [[nodiscard]] bool sees(const LlamaInput& input, std::int64_t b, std::int64_t i, std::int64_t j) const {
    if (j > i) return false;
    if (input.documents.empty()) return true;
    const auto base = static_cast<std::size_t>(b * input.tokens_per_sequence);
    return input.documents[base + static_cast<std::size_t>(i)] ==
           input.documents[base + static_cast<std::size_t>(j)];
  }

  [[nodiscard]] std::vector<double> attend(const LlamaInput& input, std::int64_t b, int layer, std::int64_t i,
                                           const Rows& q, const Rows& k, const Rows& v) const {
    const auto width = static_cast<std::size_t>(spec_.head_dim);
    const std::int64_t id = input.sequence_ids.empty() ? b : input.sequence_ids[static_cast<std::size_t>(b)];
    const std::uint64_t key = derive_key(derive_key(input.dropout_key, static_cast<std::uint64_t>(layer)),
                                         static_cast<std::uint64_t>(id));
    std::vector<double> o(static_cast<std::size_t>(spec_.heads) * width, 0.0);
    for (int h = 0; h < spec_.heads; ++h) {
      const auto from_q = static_cast<std::size_t>(h) * width;
      const auto from_k = static_cast<std::size_t>(h / (spec_.heads / spec_.kv_heads)) * width;
      std::vector<double> p(static_cast<std::size_t>(i) + 1, 0.0);
      double sum = 0;
      for (std::int64_t j = 0; j <= i; ++j) {
        if (!sees(input, b, i, j)) continue;
        double dot = 0;
        for (std::size_t d = 0; d < width; ++d) {
          dot += q[static_cast<std::size_t>(i)][from_q + d] * k[static_cast<std::size_t>(j)][from_k + d];
        }
        // Scores of a tiny model stay far from overflow in double, so no largest is subtracted.
        sum += p[static_cast<std::size_t>(j)] = std::exp(dot / std::sqrt(static_cast<double>(width)));
      }
      const std::uint32_t seed = kernels::dropout_row_seed(key, h, static_cast<std::int32_t>(i));
      const std::uint32_t threshold = kernels::dropout_threshold(static_cast<float>(input.dropout));
      for (std::int64_t j = 0; j <= i; ++j) {
        if (input.dropout > 0 && !kernels::dropout_keep(seed, static_cast<std::int32_t>(j), threshold))
          continue;
        const double kept = p[static_cast<std::size_t>(j)] / sum / (1 - input.dropout);
        for (std::size_t d = 0; d < width; ++d) {
          o[from_q + d] += kept * v[static_cast<std::size_t>(j)][from_k + d];
        }
      }
    }
    return o;
  }

  void run_sequence(const std::vector<double>& parameters, const LlamaInput& input, std::int64_t b,
                    LlamaOutput& output) const {
    const auto tokens = static_cast<std::size_t>(input.tokens_per_sequence);
    const auto first = static_cast<std::size_t>(b) * tokens;
    const std::int64_t q_width = std::int64_t{spec_.heads} * spec_.head_dim;
    const std::int64_t kv_width = std::int64_t{spec_.kv_heads} * spec_.head_dim;
    const double* table = weight(parameters, "model.embed_tokens.weight");
    Rows stream(tokens);
    for (std::size_t t = 0; t < tokens; ++t) {
      const double* row = table + input.tokens[first + t] * spec_.hidden_size;
      stream[t].assign(row, row + spec_.hidden_size);
    }
    const auto add = [](std::vector<double>& to, const std::vector<double>& x) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += x[i];
    };
    for (int l = 0; l < spec_.layers; ++l) {
      const auto w = [&](const char* name) {
        return weight(parameters, "model.layers." + std::to_string(l) + "." + name + ".weight");
      };
      Rows q(tokens);
      Rows k(tokens);
      Rows v(tokens);
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::vector<double> x = norm(w("input_layernorm"), stream[t]);
        q[t] = product(w("self_attn.q_proj"), q_width, x);
        k[t] = product(w("self_attn.k_proj"), kv_width, x);
        v[t] = product(w("self_attn.v_proj"), kv_width, x);
        rotate(q[t], spec_.heads, static_cast<std::int64_t>(t));
        rotate(k[t], spec_.kv_heads, static_cast<std::int64_t>(t));
      }
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::vector<double> o = attend(input, b, l, static_cast<std::int64_t>(t), q, k, v);
        add(stream[t], product(w("self_attn.o_proj"), spec_.hidden_size, o));
        const std::vector<double> x = norm(w("post_attention_layernorm"), stream[t]);
        const std::vector<double> gate = product(w("mlp.gate_proj"), spec_.intermediate_size, x);
        std::vector<double> act = product(w("mlp.up_proj"), spec_.intermediate_size, x);
        for (std::size_t f = 0; f < act.size(); ++f) act[f] *= gate[f] / (1 + std::exp(-gate[f]));
        add(stream[t], product(w("mlp.down_proj"), spec_.hidden_size, act));
      }
    }
    const double* head = spec_.tie_word_embeddings ? table : weight(parameters, "lm_head.weight");
    for (std::size_t t = 0; t < tokens; ++t) {
      const std::vector<double> x = norm(weight(parameters, "model.norm.weight"), stream[t]);
      const std::vector<double> logits = product(head, spec_.vocab_size, x);
      output.logits.insert(output.logits.end(), logits.begin(), logits.end());
      const std::int32_t label = input.labels.empty() ? kernels::kIgnoredLabel : input.labels[first + t];
      if (label == kernels::kIgnoredLabel) continue;
      double sum = 0;
      for (const double value : logits) sum += std::exp(value);
      output.loss += std::log(sum) - logits[static_cast<std::size_t>(label)];
      ++output.labels;
    }
  }

  planner::ModelSpec spec_;
  const runtime::ParameterLayout& layout_;
  std::vector<double> frequencies_;
};

}  // namespace tessera::support
