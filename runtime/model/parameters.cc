#include "runtime/model/parameters.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

std::int64_t aligned(std::int64_t floats) {
  return (floats + kParameterAlignment - 1) / kParameterAlignment * kParameterAlignment;
}

/// FNV-1a: a name's key must be the same on every machine and in every build.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

std::vector<ParameterInfo::Run> ParameterInfo::runs() const {
  if (cut_dim < 1) return {{offset, cut_dim < 0 ? 0 : block_begin * shape[1], count}};
  std::vector<Run> runs;
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    runs.push_back({offset + row * shape[1], row * full_shape[1] + block_begin, shape[1]});
  }
  return runs;
}

ParameterLayout::ParameterLayout(const planner::ModelSpec& spec) : ParameterLayout(spec, whole_model(spec)) {}

ParameterLayout::ParameterLayout(const planner::ModelSpec& spec, const ModelSlice& slice) {
  const auto add = [&](std::string name, std::vector<std::int64_t> full_shape, int cut_dim,
                       TensorBlock block) {
    ParameterInfo info;
    info.decay = full_shape.size() > 1;
    info.shape = full_shape;
    if (cut_dim >= 0 && slice.tensor_ranks > 1) {
      info.cut_dim = cut_dim;
      info.block_begin = block.begin;
      info.shape[static_cast<std::size_t>(cut_dim)] = block.count();
    }
    info.full_shape = std::move(full_shape);
    info.count = 1;
    for (const std::int64_t dim : info.shape) info.count *= dim;
    info.name = std::move(name);
    info.offset = total_;
    total_ += aligned(info.count);
    parameters_.push_back(std::move(info));
  };
  /// Rows of one fused product follow each other without a gap, whatever their sizes.
  const auto fuse_with_previous = [this] {
    ParameterInfo& last = parameters_.back();
    const ParameterInfo& before = parameters_[parameters_.size() - 2];
    last.offset = before.offset + before.count;
    total_ = aligned(last.offset + last.count);
  };

  const std::int64_t D = spec.hidden_size;
  const std::int64_t q_rows = std::int64_t{spec.heads} * spec.head_dim;
  const std::int64_t kv_rows = std::int64_t{spec.kv_heads} * spec.head_dim;
  const std::int64_t F = spec.intermediate_size;
  const std::int64_t V = spec.vocab_size;
  const TensorBlock query = tensor_block(q_rows, slice);  // whole heads: heads divide by the tensor ranks
  const TensorBlock key = tensor_block(kv_rows, slice);
  const TensorBlock feed = tensor_block(F, slice);
  const TensorBlock vocabulary = tensor_block(V, slice);
  if (slice.embedding || (slice.head && spec.tie_word_embeddings)) {
    add("model.embed_tokens.weight", {V, D}, 0, vocabulary);
  }
  for (int layer = slice.first_layer; layer < slice.first_layer + slice.layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add(prefix + "input_layernorm.weight", {D}, -1, {});
    add(prefix + "self_attn.q_proj.weight", {q_rows, D}, 0, query);
    add(prefix + "self_attn.k_proj.weight", {kv_rows, D}, 0, key);
    fuse_with_previous();
    add(prefix + "self_attn.v_proj.weight", {kv_rows, D}, 0, key);
    fuse_with_previous();
    add(prefix + "self_attn.o_proj.weight", {D, q_rows}, 1, query);
    add(prefix + "post_attention_layernorm.weight", {D}, -1, {});
    add(prefix + "mlp.gate_proj.weight", {F, D}, 0, feed);
    add(prefix + "mlp.up_proj.weight", {F, D}, 0, feed);
    fuse_with_previous();
    add(prefix + "mlp.down_proj.weight", {D, F}, 1, feed);
  }
  if (slice.head) {
    add("model.norm.weight", {D}, -1, {});
    if (!spec.tie_word_embeddings) add("lm_head.weight", {V, D}, 0, vocabulary);
  }
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
    if (!info.decay) {
      std::fill_n(flat + info.offset, info.count, 1.0F);
      continue;
    }
    const std::uint64_t key = derive_key(seed, hash_of(info.name));
    for (const ParameterInfo::Run& run : info.runs()) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        const auto element = static_cast<std::uint64_t>(run.full_index + i);
        flat[run.offset + i] = static_cast<float>(spec.initializer_range * normal(key, element));
      }
    }
  }
}

}  // namespace tessera::runtime
