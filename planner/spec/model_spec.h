/// ModelSpec: what a Hugging Face `config.json` of a LlamaForCausalLM says, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/status.h"

namespace tessera::planner {

/// rope_scaling of type "llama3" (Dubey et al. 2024, arXiv:2407.21783) or "linear".
struct RopeScaling {
  enum class Kind : std::uint8_t { kLinear, kLlama3 };
  Kind kind = Kind::kLlama3;
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 8192;  // tokens
};

struct ModelSpec {
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;  // default hidden_size / heads
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 2048;  // tokens
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  std::optional<RopeScaling> rope_scaling;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  double attention_dropout = 0;
  std::int64_t bos_token_id = -1;  // -1: none
  std::int64_t eos_token_id = -1;

  [[nodiscard]] std::int64_t parameters() const;
};

/// Parses and checks; an error names file, field, what was found, expected, remedy. Unknown fields are
/// ignored except those that change the mathematics (attention_bias, mlp_bias, hidden_act other than silu,
/// pretraining_tp > 1, unknown rope types, model_type other than llama): those are refused.
[[nodiscard]] Result<ModelSpec> parse_model_spec(const std::string& json_text, const std::string& file_name);
[[nodiscard]] Result<ModelSpec> read_model_spec(const std::string& path);

/// A config.json that `transformers` reads as LlamaForCausalLM.
[[nodiscard]] std::string to_config_json(const ModelSpec& spec);

/// Inverse frequencies, [head_dim / 2], with the scaling applied, exactly as transformers computes them.
[[nodiscard]] std::vector<double> rope_inverse_frequencies(const ModelSpec& spec);

}  // namespace tessera::planner
