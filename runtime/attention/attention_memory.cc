#include "runtime/attention/attention_memory.h"

#include <algorithm>

#include "algos/base/require.h"
#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/ring_messages.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_program.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

std::int64_t super_rank_tokens(const AttentionConfig& config, int super_rank) {
  const MeshShape& shape = config.shape;
  std::int64_t tokens = 0;
  for (int share = 0; share < shape.heads; ++share) {
    tokens += token_count(config.layout, config.dims.tokens, shape.ranks(), super_rank * shape.heads + share);
  }
  return tokens;
}

}  // namespace

AttentionMemory attention_memory(const AttentionConfig& config, int rank) {
  const MeshShape& shape = config.shape;
  TS_REQUIRE(rank >= 0 && rank < shape.ranks(), rank, shape.ranks());
  const TileAssignment assignment(shape);
  const int super_rank = rank / shape.heads;
  const int u = assignment.kv_index(super_rank);
  const int v = assignment.q_index(super_rank);
  const ChunkMask mask = chunk_mask(shape, config.layout, config.dims.tokens,
                                    {config.causal, config.window, config.dims.batch, {}});
  const std::int64_t batch = config.dims.batch;
  const std::int64_t heads = config.dims.heads / shape.heads;
  const std::int64_t kv_heads = config.dims.kv_heads / shape.heads;
  const std::int64_t query = batch * heads * (config.dims.head_dim + 1);  // A + L of one token
  const std::int64_t key = batch * kv_heads * config.dims.head_dim;       // K of one token
  const bool exchanged = shape.heads > 1;

  AttentionMemory memory;
  const auto slots = [&](bool rows) {
    const RingUse use = ring_use(shape, mask, rows, rows ? u : v);
    const RingPath path(use.shape(), rows ? v : u);
    std::int64_t largest = 0;
    for (int p = 0; p < use.shape().size(); ++p) {
      const Chunk chunk =
          rows ? assignment.row_chunk(super_rank, Row(p)) : assignment.column_chunk(super_rank, Column(p));
      const std::int64_t tokens = super_rank_tokens(config, chunk.value);
      largest = std::max(largest, tokens);
      if (p > 0 && !use.visited(path.owner(p), p)) continue;
      // Of the rank's own chunk: what travels together where there is a ring, results only where they are not
      // the caller's.
      const bool bundle = p > 0 || exchanged || use.shape().size() > 1;
      const bool result = p > 0 || exchanged;
      const std::int64_t floats = rows ? query : 2 * key;
      memory.tile_bytes += kFloat * tokens * floats * ((bundle ? (rows ? 2 : 1) : 0) + (result ? 1 : 0));
    }
    return largest;
  };
  const std::int64_t largest_row = slots(true);
  const std::int64_t largest_column = slots(false);

  const TileProgram forward(Pass::kForward, shape, config.forward_costs, mask, super_rank);
  const TileProgram backward(Pass::kBackward, shape, config.backward_costs, mask, super_rank);
  memory.staging_bytes =
      kFloat * (std::max(forward.staging(true), backward.staging(true)) * largest_row * query +
                backward.staging(false) * largest_column * 2 * key);

  const std::int64_t own = token_count(config.layout, config.dims.tokens, shape.ranks(), rank);
  if (exchanged) {
    const std::int64_t tokens = std::max(own * shape.heads, super_rank_tokens(config, super_rank));
    memory.exchange_bytes += 2 * kFloat * tokens * 2 * (query + key);
  }
  if (exchanged || shape.a() == 1) memory.exchange_bytes += kFloat * batch * own * config.dims.heads;
  return memory;
}

}  // namespace tessera::runtime
