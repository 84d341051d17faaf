#include "runtime/train/memory_estimate.h"

#include <algorithm>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/attention_memory.h"
#include "runtime/model/lm_head.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {
namespace {

using planner::Recompute;

constexpr std::int64_t kFloat = sizeof(float);

/// The formulas of activations.h, in its letters.
std::int64_t activation_floats(const MemoryQuestion& question, std::int64_t T) {
  const planner::ModelSpec rank = local_spec(question.model, question.slice);
  const std::int64_t t = question.slice.tensor_ranks;
  const std::int64_t S = (T + t - 1) / t;
  const std::int64_t T1 = S * t;  // T'
  const std::int64_t D = rank.hidden_size;
  const std::int64_t F = rank.intermediate_size;
  const std::int64_t H = rank.heads;
  const std::int64_t Hd = H * rank.head_dim;
  const std::int64_t Gd = std::int64_t{rank.kv_heads} * rank.head_dim;

  const std::int64_t attention = T * Hd + T * H;  // o, lse
  const std::int64_t rest = S * D + 2 * T1 * D + T * (Hd + 2 * Gd) + 2 * T * F + 2 * S;
  std::int64_t floats = 0;
  bool some_recompute = false;
  bool some_full = false;
  for (const Recompute recompute : question.recompute) {
    some_recompute = some_recompute || recompute != Recompute::kNone;
    some_full = some_full || recompute == Recompute::kFull;
    std::int64_t kept = S * D;
    if (recompute != Recompute::kFull) kept += attention;
    if (recompute == Recompute::kNone) kept += rest;
    floats += question.slots * kept;
  }
  if (some_recompute) floats += rest;
  if (some_full) floats += attention;
  floats += T1 * D + S * D + T * (3 * Hd + 4 * Gd) + 2 * T * F + (t > 1 ? T1 * D : 0);
  if (!question.slice.head) floats += question.slots * 2 * S * D;
  if (!question.slice.embedding) floats += question.slots * S * D;
  if (question.slice.head) floats += S * D + T1 * D + S;
  return floats;
}

/// kernels/attention: a thread's tiles of D-wide queries and keys and of scores, forward and backward; and,
/// where a call has few key/value heads, partial dK and dV of runs of keys, for about 16 units of work.
std::int64_t kernel_floats(const MemoryQuestion& question, std::int64_t chunk_tokens) {
  constexpr std::int64_t kRowsPerThread = 2200;
  constexpr std::int64_t kScoresPerThread = 46000;
  constexpr std::int64_t kUnits = 16;
  constexpr std::int64_t kQueryTile = 96;
  constexpr std::int64_t kKeyRun = 3072;
  const AttentionDims& dims = question.attention.dims;
  const int u = question.attention.shape.heads;
  const std::int64_t heads = dims.batch * (dims.kv_heads / u);
  const std::int64_t tiles = (chunk_tokens + kQueryTile - 1) / kQueryTile * (dims.heads / dims.kv_heads);
  const std::int64_t shares = std::min(tiles, (kUnits + heads - 1) / heads);
  const std::int64_t partial =
      shares > 1 ? heads * shares * 2 * std::min(kKeyRun, chunk_tokens) * dims.head_dim : 0;
  return question.threads * (kRowsPerThread * dims.head_dim + kScoresPerThread) + partial;
}

}  // namespace

MemoryEstimate memory_estimate(const MemoryQuestion& question) {
  TS_REQUIRE(std::ssize(question.recompute) == question.slice.layers, question.recompute.size(),
             question.slice.layers);
  TS_REQUIRE(question.owned > 0 && question.owned <= 1 && question.slots >= 1, question.owned,
             question.slots);
  const AttentionConfig& attention = question.attention;
  const std::int64_t rows =
      attention.dims.batch *
      token_count(attention.layout, attention.dims.tokens, attention.shape.ranks(), question.context_rank);
  MemoryEstimate estimate;
  estimate.parameters = kFloat * ParameterLayout(question.model, question.slice).total();
  estimate.gradients = estimate.parameters;
  estimate.moments = static_cast<std::int64_t>(2 * static_cast<double>(estimate.parameters) * question.owned);
  estimate.activations = kFloat * activation_floats(question, rows);
  if (question.slice.head) {
    const std::int64_t vocabulary = tensor_block(question.model.vocab_size, question.slice).count();
    estimate.logits = kFloat * LmHead::chunk_rows(rows, vocabulary) * (vocabulary + 1);
  }
  estimate.attention = attention_memory(attention, question.context_rank).total();
  estimate.kernels = kFloat * kernel_floats(question, attention.dims.tokens / attention.shape.super_ranks());
  return estimate;
}

std::string to_text(const MemoryEstimate& e) {
  const auto mega = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  return fmt::format(
      "{:.1f} MB = parameters {:.1f} + gradients {:.1f} + optimizer {:.1f} + activations {:.1f} + logits "
      "{:.1f} + "
      "attention {:.1f} + kernels {:.1f}",
      mega(e.total()), mega(e.parameters), mega(e.gradients), mega(e.moments), mega(e.activations),
      mega(e.logits), mega(e.attention), mega(e.kernels));
}

}  // namespace tessera::runtime
