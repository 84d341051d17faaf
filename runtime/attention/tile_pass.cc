#include "runtime/attention/tile_pass.h"

#include <algorithm>
#include <limits>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kAddGrain = 1 << 14;  // floats: below it threads cost more than they add

void fill(float* to, std::int64_t count, float value) {
  kernels::parallel_ranges(count, kAddGrain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(to + begin, to + end, value);
  });
}

void add_floats(float* to, const float* from, std::int64_t count) {
  kernels::parallel_ranges(count, kAddGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

}  // namespace

std::int64_t TilePass::parts_per_slice(const Block& block) const {
  const double scores = static_cast<double>(tile_.row_tokens(block.row)) *
                        static_cast<double>(tile_.column_tokens(block.column));
  const double flops = flops_per_score() * scores * group() * tile_.head_dim;
  const std::int64_t all = tile_.batch * tile_.kv_heads;
  if (flops * static_cast<double>(all) <= kSliceFlops) return all;
  // With several threads a slice keeps them all busy for as long.
  const double wanted = kSliceFlops * kernels::parallel_threads() / flops;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted), 1, all);
}

int TilePass::slices(const Block& block) {
  const ChunkTokens& q = tile_.rows[static_cast<std::size_t>(block.row)];
  const ChunkTokens& k = tile_.columns[static_cast<std::size_t>(block.column)];
  bool visible = false;
  for (std::int64_t s = 0; s < tile_.batch && !visible; ++s) {
    visible = !nothing_visible(q, k, s, call_.causal, call_.window);
  }
  if (!visible) return 0;
  const std::int64_t per_slice = parts_per_slice(block);
  return static_cast<int>((tile_.batch * tile_.kv_heads + per_slice - 1) / per_slice);
}

std::vector<TilePass::Part> TilePass::parts(const Block& block, int slice) const {
  const ChunkTokens& q = tile_.rows[static_cast<std::size_t>(block.row)];
  const ChunkTokens& k = tile_.columns[static_cast<std::size_t>(block.column)];
  const std::int64_t per_slice = parts_per_slice(block);
  const std::int64_t begin = slice * per_slice;
  const std::int64_t end = std::min(begin + per_slice, tile_.batch * tile_.kv_heads);
  std::vector<Part> parts;
  for (std::int64_t s = begin / tile_.kv_heads; s * tile_.kv_heads < end; ++s) {
    if (nothing_visible(q, k, s, call_.causal, call_.window)) continue;
    const std::int64_t first = std::max(begin - s * tile_.kv_heads, std::int64_t{0});
    const std::int64_t last = std::min(end - s * tile_.kv_heads, std::int64_t{tile_.kv_heads});
    parts.push_back({s, static_cast<int>(first), static_cast<int>(last - first)});
  }
  return parts;
}

std::int64_t TilePass::query_offset(int row, const Part& part) const {
  const std::int64_t head = std::int64_t{part.first} * group();
  return (part.sequence * tile_.row_tokens(row) * tile_.heads + head) * tile_.head_dim;
}
std::int64_t TilePass::stat_offset(int row, const Part& part) const {
  return (part.sequence * tile_.heads + std::int64_t{part.first} * group()) * tile_.row_tokens(row);
}
std::int64_t TilePass::key_offset(int column, const Part& part) const {
  return (part.sequence * tile_.column_tokens(column) * tile_.kv_heads + part.first) * tile_.head_dim;
}

kernels::AttentionBlock TilePass::block(const Block& block, const Part& part, const float* q, const float* k,
                                        const float* v) const {
  const ChunkTokens& rows = tile_.rows[static_cast<std::size_t>(block.row)];
  const ChunkTokens& columns = tile_.columns[static_cast<std::size_t>(block.column)];
  const std::int64_t key = key_offset(block.column, part);
  kernels::AttentionBlock result;
  result.q = q + query_offset(block.row, part);
  result.k = k + key;
  result.v = v + key;
  result.q_tokens = rows.tokens();
  result.kv_tokens = columns.tokens();
  result.q_stride = std::int64_t{tile_.heads} * tile_.head_dim;
  result.kv_stride = std::int64_t{tile_.kv_heads} * tile_.head_dim;
  result.heads = part.count * group();
  result.kv_heads = part.count;
  result.head_dim = tile_.head_dim;
  result.scale = call_.scale;
  result.mask = {rows.positions().data(),
                 columns.positions().data(),
                 rows.documents(part.sequence),
                 columns.documents(part.sequence),
                 call_.causal,
                 call_.window};
  if (!call_.dropout_keys.empty()) {
    result.dropout = {call_.dropout, call_.dropout_keys[static_cast<std::size_t>(part.sequence)],
                      tile_.first_head + part.first * group()};
  }
  return result;
}

ForwardTile::ForwardTile(const TileGeometry& tile, TileBuffers& buffers, const TileCall& call,
                         const OwnForward& own)
    : TilePass(tile, buffers, call), own_(own) {
  for (int p = 0; p < static_cast<int>(tile.rows.size()); ++p) {
    float* const o = p == 0 ? own.o : buffers.row_partial(p);
    if (o == nullptr) continue;
    float* const lse = p == 0 ? own.lse : o + tile.query_floats(p);
    fill(o, tile.query_floats(p), 0.0F);
    fill(lse, tile.stat_floats(p), -std::numeric_limits<float>::infinity());
  }
}

std::span<const std::byte> ForwardTile::outgoing(Transfer kind, int slot) {
  switch (kind) {
    case Transfer::kReceiveRow:
      return as_bytes(slot == 0 ? own_.q : buffers_.row_bundle(slot), tile_.query_floats(slot));
    case Transfer::kReceiveColumn: return as_bytes(buffers_.column_bundle(slot), 2 * tile_.key_floats(slot));
    default: return as_bytes(buffers_.row_partial(slot), tile_.query_floats(slot) + tile_.stat_floats(slot));
  }
}

std::span<std::byte> ForwardTile::incoming(Transfer kind, int slot, int staging) {
  switch (kind) {
    case Transfer::kReceiveRow: return as_writable_bytes(buffers_.row_bundle(slot), tile_.query_floats(slot));
    case Transfer::kReceiveColumn:
      return as_writable_bytes(buffers_.column_bundle(slot), 2 * tile_.key_floats(slot));
    default:
      return as_writable_bytes(buffers_.row_staging(staging),
                               tile_.query_floats(slot) + tile_.stat_floats(slot));
  }
}

void ForwardTile::compute(const Block& at, int slice) {
  const float* const q = at.row == 0 ? own_.q : buffers_.row_bundle(at.row);
  const float* const k = at.column == 0 ? own_.k : buffers_.column_bundle(at.column);
  const float* const v = at.column == 0 ? own_.v : k + tile_.key_floats(at.column);
  float* const o = at.row == 0 ? own_.o : buffers_.row_partial(at.row);
  float* const lse = at.row == 0 ? own_.lse : o + tile_.query_floats(at.row);
  work_.clear();
  for (const Part& part : parts(at, slice)) {
    kernels::AttentionForward item;
    item.block = block(at, part, q, k, v);
    item.o = o + query_offset(at.row, part);
    item.o_stride = item.block.q_stride;
    item.lse = lse + stat_offset(at.row, part);
    work_.push_back(item);
  }
  kernels::attention_forward(work_);
}

void ForwardTile::add(Transfer /*kind*/, int slot, int staging) {
  const std::int64_t tokens = tile_.row_tokens(slot);
  float* const o = slot == 0 ? own_.o : buffers_.row_partial(slot);
  float* const lse = slot == 0 ? own_.lse : o + tile_.query_floats(slot);
  const float* const o2 = buffers_.row_staging(staging);
  const float* const lse2 = o2 + tile_.query_floats(slot);
  for (std::int64_t s = 0; s < tile_.batch; ++s) {
    const std::int64_t at = s * tokens * tile_.heads;
    kernels::merge_partials(o + at * tile_.head_dim, lse + at, o2 + at * tile_.head_dim, lse2 + at, tokens,
                            tile_.heads, tile_.head_dim);
  }
}

BackwardTile::BackwardTile(const TileGeometry& tile, TileBuffers& buffers, const TileCall& call,
                           const OwnBackward& own)
    : TilePass(tile, buffers, call), own_(own) {
  for (int p = 0; p < static_cast<int>(tile.rows.size()); ++p) {
    float* const dq = p == 0 ? own.dq : buffers.row_partial(p);
    if (dq != nullptr) fill(dq, tile.query_floats(p), 0.0F);
  }
  fill(own.dk, tile.key_floats(0), 0.0F);
  fill(own.dv, tile.key_floats(0), 0.0F);
  for (int q = 1; q < static_cast<int>(tile.columns.size()); ++q) {
    float* const grad = buffers.column_grad(q);
    if (grad != nullptr) fill(grad, 2 * tile.key_floats(q), 0.0F);
  }
}

std::span<const std::byte> BackwardTile::outgoing(Transfer kind, int slot) {
  switch (kind) {
    case Transfer::kReceiveRow:
      return as_bytes(buffers_.row_bundle(slot), 2 * (tile_.query_floats(slot) + tile_.stat_floats(slot)));
    case Transfer::kReceiveColumn: return as_bytes(buffers_.column_bundle(slot), 2 * tile_.key_floats(slot));
    case Transfer::kSendRow: return as_bytes(buffers_.row_partial(slot), tile_.query_floats(slot));
    case Transfer::kSendColumn: break;
  }
  return as_bytes(buffers_.column_grad(slot), 2 * tile_.key_floats(slot));
}

std::span<std::byte> BackwardTile::incoming(Transfer kind, int slot, int staging) {
  switch (kind) {
    case Transfer::kReceiveRow:
      return as_writable_bytes(buffers_.row_bundle(slot),
                               2 * (tile_.query_floats(slot) + tile_.stat_floats(slot)));
    case Transfer::kReceiveColumn:
      return as_writable_bytes(buffers_.column_bundle(slot), 2 * tile_.key_floats(slot));
    case Transfer::kSendRow:
      return as_writable_bytes(buffers_.row_staging(staging), tile_.query_floats(slot));
    case Transfer::kSendColumn: break;
  }
  return as_writable_bytes(buffers_.column_staging(staging), 2 * tile_.key_floats(slot));
}

void BackwardTile::compute(const Block& at, int slice) {
  const std::int64_t a = tile_.query_floats(at.row);
  const std::int64_t key = tile_.key_floats(at.column);
  const bool own_row = at.row == 0;
  const bool own_column = at.column == 0;
  const float* const bundle = buffers_.row_bundle(at.row);
  const float* const q = own_row ? own_.q : bundle;
  const float* const d_o = own_row ? own_.d_o : bundle + a;
  const float* const lse = own_row ? own_.lse : bundle + 2 * a;
  const float* const delta = own_row ? own_.delta : bundle + 2 * a + tile_.stat_floats(at.row);
  const float* const k = own_column ? own_.k : buffers_.column_bundle(at.column);
  const float* const v = own_column ? own_.v : k + key;
  float* const dq = own_row ? own_.dq : buffers_.row_partial(at.row);
  float* const dk = own_column ? own_.dk : buffers_.column_grad(at.column);
  float* const dv = own_column ? own_.dv : dk + key;
  work_.clear();
  for (const Part& part : parts(at, slice)) {
    const std::int64_t query_at = query_offset(at.row, part);
    const std::int64_t stat_at = stat_offset(at.row, part);
    const std::int64_t key_at = key_offset(at.column, part);
    kernels::AttentionBackward item;
    item.block = block(at, part, q, k, v);
    item.d_o = d_o + query_at;
    item.o_stride = item.block.q_stride;
    item.lse = lse + stat_at;
    item.delta = delta + stat_at;
    item.dq = dq + query_at;
    item.dk = dk + key_at;
    item.dv = dv + key_at;
    item.dq_stride = item.block.q_stride;
    item.dkv_stride = item.block.kv_stride;
    work_.push_back(item);
  }
  kernels::attention_backward(work_);
}

void BackwardTile::add(Transfer kind, int slot, int staging) {
  if (kind == Transfer::kSendRow) {
    add_floats(slot == 0 ? own_.dq : buffers_.row_partial(slot), buffers_.row_staging(staging),
               tile_.query_floats(slot));
    return;
  }
  const std::int64_t key = tile_.key_floats(slot);
  const float* const from = buffers_.column_staging(staging);
  float* const dk = slot == 0 ? own_.dk : buffers_.column_grad(slot);
  float* const dv = slot == 0 ? own_.dv : dk + key;
  add_floats(dk, from, key);
  add_floats(dv, from + key, key);
}

}  // namespace tessera::runtime
