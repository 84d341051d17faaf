// What a configuration must satisfy. Each complaint says which field, why and what to do.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "runtime/attention/mesh_attention.h"

namespace tessera::runtime {
namespace {

constexpr int kLargestHeadDim = 256;
constexpr int kLargestRing = 1 << 16;

Status check_dims(const AttentionDims& dims) {
  if (dims.batch < 1) {
    return bad_input({.file = "",
                      .field = "attention dims.batch",
                      .found = fmt::format("{}", dims.batch),
                      .expected = "at least one sequence",
                      .remedy = "raise the micro-batch to 1 or more"});
  }
  if (dims.tokens < 1 || dims.tokens > std::numeric_limits<std::int32_t>::max()) {
    return bad_input({.file = "",
                      .field = "attention dims.tokens",
                      .found = fmt::format("{}", dims.tokens),
                      .expected = "1 to 2147483647 tokens per sequence",
                      .remedy = "set the sequence length over all ranks, not that of one rank"});
  }
  if (dims.heads < 1 || dims.kv_heads < 1 || dims.heads % dims.kv_heads != 0) {
    return bad_input({.file = "",
                      .field = "attention dims.heads, kv_heads",
                      .found = fmt::format("{} query heads, {} key/value heads", dims.heads, dims.kv_heads),
                      .expected = "both positive, the first a multiple of the second",
                      .remedy = "take both from the model's config.json"});
  }
  if (dims.head_dim < 1 || dims.head_dim > kLargestHeadDim) {
    return bad_input({.file = "",
                      .field = "attention dims.head_dim",
                      .found = fmt::format("{}", dims.head_dim),
                      .expected = fmt::format("1 to {}", kLargestHeadDim),
                      .remedy = "use more heads of less width"});
  }
  return {};
}

Status check_shape(const MeshShape& shape, const AttentionDims& dims, int ranks) {
  const auto bad_ring = [](RingShape ring) {
    return ring.outer < 1 || ring.inner < 1 || std::int64_t{ring.outer} * ring.inner > kLargestRing;
  };
  if (shape.heads < 1 || shape.heads > kLargestRing || bad_ring(shape.q) || bad_ring(shape.kv)) {
    return bad_input({.file = "",
                      .field = "context mesh",
                      .found = fmt::format("heads {}, q {}.{}, kv {}.{}", shape.heads, shape.q.outer,
                                           shape.q.inner, shape.kv.outer, shape.kv.inner),
                      .expected = fmt::format("factors from 1, rings of at most {} ranks", kLargestRing),
                      .remedy = "write the shape as text, such as 4x2 or u2:2x2"});
  }
  const std::int64_t needed = std::int64_t{shape.heads} * shape.a() * shape.b();
  if (needed != ranks) {
    return bad_input(
        {.file = "",
         .field = "context mesh",
         .found = fmt::format("{}, which needs {} ranks; the group has {}", to_string(shape), needed, ranks),
         .expected = "as many ranks as heads * q ring * kv ring",
         .remedy = fmt::format("choose a and b with a * b = {}, or start {} ranks", ranks, needed)});
  }
  if (dims.heads % shape.heads != 0 || dims.kv_heads % shape.heads != 0) {
    return bad_input({.file = "",
                      .field = "context mesh, heads",
                      .found = fmt::format("{}: {} ranks are to share {} query and {} key/value heads",
                                           to_string(shape), shape.heads, dims.heads, dims.kv_heads),
                      .expected = "a number that divides both",
                      .remedy = fmt::format(
                          "use u1:, or move the factor to the kv ring: {}",
                          to_string(MeshShape{1, shape.q, {shape.kv.outer * shape.heads, shape.kv.inner}}))});
  }
  return {};
}

Status check_costs(const char* field, const ScheduleCosts& costs) {
  for (const double cost : {costs.block, costs.receive_row, costs.receive_column, costs.send_row,
                            costs.send_column, costs.outer_factor}) {
    if (std::isfinite(cost) && cost > 0) continue;
    return bad_input({.file = "",
                      .field = field,
                      .found = fmt::format("a cost of {}", cost),
                      .expected = "finite and above 0",
                      .remedy = "leave the defaults, or measure the hop and block times anew"});
  }
  return {};
}

}  // namespace

int suggested_head_pieces(const MeshShape& shape, int kv_heads) {
  const int share = kv_heads / shape.heads;
  if (shape.heads == 1) return 1;
  return share % 4 == 0 ? 4 : share % 2 == 0 ? 2 : 1;
}

Status check_attention_config(const AttentionConfig& config, int ranks) {
  TS_TRY(check_dims(config.dims));
  TS_TRY(check_shape(config.shape, config.dims, ranks));
  const int share = config.dims.kv_heads / config.shape.heads;
  if (config.head_pieces < 1 || (config.head_pieces > 1 && config.shape.heads == 1) ||
      share % config.head_pieces != 0) {
    return bad_input(
        {.file = "",
         .field = "attention head_pieces",
         .found = fmt::format("{} with {}", config.head_pieces, to_string(config.shape)),
         .expected = fmt::format("1, or with head-parallel ranks a divisor of the {} key/value heads "
                                 "of each",
                                 share),
         .remedy = "leave it at 1"});
  }
  if (config.window < 0) {
    return bad_input({.file = "",
                      .field = "attention window",
                      .found = fmt::format("{}", config.window),
                      .expected = "a number of tokens, or 0 for no window",
                      .remedy = "take sliding_window from the model's config.json"});
  }
  if (!std::isfinite(config.scale) || config.scale < 0) {
    return bad_input({.file = "",
                      .field = "attention scale",
                      .found = fmt::format("{}", config.scale),
                      .expected = "finite and above 0, or 0 for 1 / sqrt(head_dim)",
                      .remedy = "leave it at 0"});
  }
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    return bad_input({.file = "",
                      .field = "attention dropout",
                      .found = fmt::format("{}", config.dropout),
                      .expected = "a probability from 0 to below 1",
                      .remedy = "take attention_dropout from the model's config.json"});
  }
  TS_TRY(check_costs("forward schedule costs", config.forward_costs));
  return check_costs("backward schedule costs", config.backward_costs);
}

}  // namespace tessera::runtime
