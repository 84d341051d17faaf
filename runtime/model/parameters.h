/// The parameters of a model, or of the slice of it that a rank holds, as one flat fp32 buffer with Hugging
/// Face's names on it.
///
/// Order: model.embed_tokens.weight; per layer input_layernorm, q_proj, k_proj, v_proj, o_proj,
/// post_attention_layernorm, gate_proj, up_proj, down_proj; model.norm.weight; lm_head.weight unless tied.
/// q/k/v and gate/up are adjacent, so each trio or pair is also one [rows, hidden] matrix: one product.
/// Every tensor is stored as Hugging Face stores it, [out, in] row-major: export copies, nothing is permuted.
/// The first tensor of each product starts at a multiple of kParameterAlignment floats; the gaps stay zero.
///
/// A slice has the tensors of its layers, each cut as model_slice.h says; a head with tied embeddings has its
/// block of model.embed_tokens.weight, once, in the place of the embedding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/spec/model_spec.h"
#include "runtime/model/model_slice.h"

namespace tessera::runtime {

/// Floats: one cache line, one AVX-512 register. Gaps are shorter.
inline constexpr std::int64_t kParameterAlignment = 16;

struct ParameterInfo {
  std::string name;  // "model.layers.3.mlp.up_proj.weight"
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  // floats from the start of the flat buffer
  std::int64_t count = 0;   // floats
  bool decay = true;        // weight decay applies: matrices yes, norm vectors no
  // Where a slice cuts it: `shape` is that of the block which begins at `block_begin` of dim `cut_dim`.
  std::vector<std::int64_t> full_shape;
  int cut_dim = -1;  // -1: whole
  std::int64_t block_begin = 0;

  /// A piece that is contiguous here and in the full tensor.
  struct Run {
    std::int64_t offset = 0;      // in the flat buffer
    std::int64_t full_index = 0;  // in the full tensor
    std::int64_t count = 0;
  };
  /// Increasing; together the whole block. One run unless columns are cut: then one per row.
  [[nodiscard]] std::vector<Run> runs() const;
};

class ParameterLayout {
 public:
  explicit ParameterLayout(const planner::ModelSpec& spec);
  ParameterLayout(const planner::ModelSpec& spec, const ModelSlice& slice);

  [[nodiscard]] const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  [[nodiscard]] std::int64_t total() const { return total_; }  // floats, gaps included
  /// Requires that the name exists.
  [[nodiscard]] const ParameterInfo& find(std::string_view name) const;

 private:
  std::vector<ParameterInfo> parameters_;
  std::int64_t total_ = 0;
};

/// Matrices normal(0, initializer_range), norms 1; a pure function of (seed, name, element), so it is the
/// same for every layout and every slice.
void initialize_parameters(const planner::ModelSpec& spec, const ParameterLayout& layout, std::uint64_t seed,
                           float* flat);

}  // namespace tessera::runtime
