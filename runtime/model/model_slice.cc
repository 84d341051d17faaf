#include "runtime/model/model_slice.h"

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::runtime {

ModelSlice whole_model(const planner::ModelSpec& spec) {
  ModelSlice slice;
  slice.layers = spec.layers;
  return slice;
}

TensorBlock tensor_block(std::int64_t count, const ModelSlice& slice) {
  return {count * slice.tensor_rank / slice.tensor_ranks,
          count * (slice.tensor_rank + 1) / slice.tensor_ranks};
}

Status check_tensor_ranks(const planner::ModelSpec& spec, int tensor_ranks) {
  const auto refuse = [&](const char* field, std::int64_t found, const std::string& expected) {
    return bad_input(
        {"model", field, fmt::format("{}", found), expected, "choose another tensor-parallel degree"});
  };
  if (tensor_ranks < 1) {
    return bad_input({"plan", "tensor-parallel degree", fmt::format("{}", tensor_ranks), "at least 1", ""});
  }
  const std::string divisible = fmt::format("a multiple of the tensor-parallel degree {}", tensor_ranks);
  if (spec.heads % tensor_ranks != 0) return refuse("num_attention_heads", spec.heads, divisible);
  if (spec.kv_heads % tensor_ranks != 0) return refuse("num_key_value_heads", spec.kv_heads, divisible);
  const std::string enough = fmt::format("at least the tensor-parallel degree {}", tensor_ranks);
  if (spec.intermediate_size < tensor_ranks)
    return refuse("intermediate_size", spec.intermediate_size, enough);
  if (spec.vocab_size < tensor_ranks) return refuse("vocab_size", spec.vocab_size, enough);
  return {};
}

planner::ModelSpec local_spec(const planner::ModelSpec& spec, const ModelSlice& slice) {
  TS_REQUIRE(0 <= slice.first_layer && slice.layers >= 0 && slice.first_layer + slice.layers <= spec.layers,
             slice.first_layer, slice.layers, spec.layers);
  TS_REQUIRE(0 <= slice.tensor_rank && slice.tensor_rank < slice.tensor_ranks, slice.tensor_rank,
             slice.tensor_ranks);
  TS_REQUIRE(check_tensor_ranks(spec, slice.tensor_ranks).ok(), slice.tensor_ranks, spec.heads,
             spec.kv_heads);
  planner::ModelSpec local = spec;
  local.layers = slice.layers;
  local.heads = spec.heads / slice.tensor_ranks;
  local.kv_heads = spec.kv_heads / slice.tensor_ranks;
  local.intermediate_size = tensor_block(spec.intermediate_size, slice).count();
  return local;
}

}  // namespace tessera::runtime
