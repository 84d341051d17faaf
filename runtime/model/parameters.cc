#include "runtime/model/parameters.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: one cache line, one AVX-512 register

/// FNV-1a: a name's key must be the same on every machine and in every build.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

ParameterLayout::ParameterLayout(const planner::ModelSpec& spec) {
  const auto add = [this](std::string name, std::vector<std::int64_t> shape) {
    ParameterInfo info;
    info.decay = shape.size() > 1;
    info.count = 1;
    for (const std::int64_t dim : shape) info.count *= dim;
    info.name = std::move(name);
    info.shape = std::move(shape);
    info.offset = total_;
    total_ += (info.count + kAlignment - 1) / kAlignment * kAlignment;
    parameters_.push_back(std::move(info));
  };
  /// Rows of one fused product follow each other without a gap, whatever their sizes.
  const auto fuse_with_previous = [this] {
    ParameterInfo& last = parameters_.back();
    const ParameterInfo& before = parameters_[parameters_.size() - 2];
    last.offset = before.offset + before.count;
    total_ = (last.offset + last.count + kAlignment - 1) / kAlignment * kAlignment;
  };

  const std::int64_t D = spec.hidden_size;
  const std::int64_t q_rows = std::int64_t{spec.heads} * spec.head_dim;
  const std::int64_t kv_rows = std::int64_t{spec.kv_heads} * spec.head_dim;
  const std::int64_t F = spec.intermediate_size;
  add("model.embed_tokens.weight", {spec.vocab_size, D});
  for (int layer = 0; layer < spec.layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add(prefix + "input_layernorm.weight", {D});
    add(prefix + "self_attn.q_proj.weight", {q_rows, D});
    add(prefix + "self_attn.k_proj.weight", {kv_rows, D});
    fuse_with_previous();
    add(prefix + "self_attn.v_proj.weight", {kv_rows, D});
    fuse_with_previous();
    add(prefix + "self_attn.o_proj.weight", {D, q_rows});
    add(prefix + "post_attention_layernorm.weight", {D});
    add(prefix + "mlp.gate_proj.weight", {F, D});
    add(prefix + "mlp.up_proj.weight", {F, D});
    fuse_with_previous();
    add(prefix + "mlp.down_proj.weight", {D, F});
  }
  add("model.norm.weight", {D});
  if (!spec.tie_word_embeddings) add("lm_head.weight", {spec.vocab_size, D});
}

const ParameterInfo& ParameterLayout::find(std::string_view name) const {
  const auto at = std::find_if(parameters_.begin(), parameters_.end(),
                               [name](const ParameterInfo& info) { return info.name == name; });
  TS_REQUIRE(at != parameters_.end(), name);
  return *at;
}

void initialize_parameters(const planner::ModelSpec& spec, const ParameterLayout& layout, std::uint64_t seed,
                           float* flat) {
  std::fill(flat, flat + layout.total(), 0.0F);
  for (const ParameterInfo& info : layout.parameters()) {
    float* weights = flat + info.offset;
    if (!info.decay) {
      std::fill(weights, weights + info.count, 1.0F);
      continue;
    }
    const std::uint64_t key = derive_key(seed, hash_of(info.name));
    for (std::int64_t i = 0; i < info.count; ++i) {
      weights[i] = static_cast<float>(spec.initializer_range * normal(key, static_cast<std::uint64_t>(i)));
    }
  }
}

}  // namespace tessera::runtime
