// One unit of work is one key/value head and a share of the query tiles that use it; it walks the key
// tiles, holds dk and dv of the current one in scratch, and adds dq of each query tile in place. Shares of
// one head own disjoint query tiles, so dq has one writer; their dk and dv are summed afterwards in the
// order of the shares. How many shares there are follows from the shapes alone, so that the sums come
// out the same for any number of threads.
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/check_block.h"
#include "kernels/attention/dropout.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tile_mask.h"
#include "kernels/device/buffer.h"
#include "kernels/device/simd_targets.h"
#include "kernels/device/thread_pool.h"

#ifndef TESSERA_KERNELS_ATTENTION_BACKWARD_SHAPES
#define TESSERA_KERNELS_ATTENTION_BACKWARD_SHAPES
namespace tessera::kernels::backward {
/// Both are multiples of the register block (6 rows) and of a chunk (16 keys).
inline constexpr int kKeys = 192;    // keys per tile
inline constexpr int kQueries = 96;  // query rows per tile

/// Share `share` of `shares` of key/value head `kv_head`, keys [kv_begin, kv_end). dk and dv are added to
/// where `add`, else written; [keys, D] with token stride `stride`, first row kv_begin.
struct Unit {
  const AttentionBackward* work;
  int kv_head;
  int share;
  int shares;
  std::int64_t kv_begin;
  std::int64_t kv_end;
  float* dk;
  float* dv;
  std::int64_t stride;
  bool add;
};
}  // namespace tessera::kernels::backward
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace backward {

using tessera::kernels::backward::kKeys;
using tessera::kernels::backward::kQueries;
using tessera::kernels::backward::Unit;

constexpr int kQueryGroups = kQueries / kRows;
constexpr int kKeyGroups = kKeys / kRows;
constexpr float kLog2e = 1.44269504088896340736F;

/// One query tile, re-laid-out. Rows past the last have q = dO = 0 and lse = +inf, so P = 0.
struct QueryTile {
  float* q;           // [kQueries, D] times scale, elements broadcast
  float* d_o;         // [kQueries, D]
  float* q_panels;    // [kQueries, Dp] times scale, rows are vectors
  float* d_o_panels;  // [kQueries, Dp]
  float* lse;         // [kQueries] times log2(e)
  float* delta;       // [kQueries]
  std::int32_t* position;
  std::int32_t* document;
};

/// Scratch of one key tile and of the scores between it and a query tile.
struct Tiles {
  float* k_transposed;  // panels over keys, depth D
  float* v_transposed;
  float* k_panels;  // panels over d, depth = keys
  float* dk;        // [kKeys, Dp]
  float* dv;
  float* p;   // [kQueries, kKeys]: scores, then probabilities
  float* ds;  // [kQueries, kKeys]: dO V^T, then dS
  float* dq;  // [kQueries, Dp]
};

/// P = 2^(s log2(e) - lse), masked and dropped; dS = P (keep dP - delta).
HWY_INLINE void probabilities(const AttentionBlock& block, const KeyTile& tile, KeySpan span, int head,
                              const QueryTile& query, int first_row, const Tiles& tiles) {
  const std::uint32_t threshold = dropout_threshold(block.dropout.probability);
  const bool drops = block.dropout.probability > 0;
  const Vec kept_scale = hn::Set(kF, 1.0F / (1.0F - block.dropout.probability));
  const Vec log2e = hn::Set(kF, kLog2e);
  for (int r = first_row; r < first_row + kRows; ++r) {
    const Vec lse = hn::Set(kF, query.lse[r]);
    const Vec delta = hn::Set(kF, query.delta[r]);
    const std::uint32_t seed =
        drops ? dropout_row_seed(block.dropout.key, block.dropout.first_head + head, query.position[r]) : 0;
    for (int j = span.begin; j < span.end; j += kLanes) {
      float* p_at = tiles.p + r * kKeys + j;
      float* ds_at = tiles.ds + r * kKeys + j;
      Vec p = exp2(hn::MulSub(hn::Load(kF, p_at), log2e, lse));
      if ((span.masked >> (j / kChunk) & 1U) != 0) {
        p = hn::IfThenElseZero(allowed(block.mask, tile, j, query.position[r], query.document[r]), p);
      }
      Vec dp = hn::Load(kF, ds_at);
      Vec p_kept = p;
      if (drops) {
        const VecMask keep = kept(tile, j, seed, threshold);
        dp = hn::IfThenElseZero(keep, hn::Mul(dp, kept_scale));
        p_kept = hn::IfThenElseZero(keep, hn::Mul(p, kept_scale));
      }
      hn::Store(p_kept, kF, p_at);
      hn::Store(hn::Mul(p, hn::Sub(dp, delta)), kF, ds_at);
    }
  }
}

/// Zeros where a partly visible row was not computed, so that columns of P and dS can be summed whole.
HWY_INLINE void clear_outside(KeySpan span, int first_row, int columns, const Tiles& tiles) {
  const int end = round_up(span.end, kLanes);
  for (int r = first_row; r < first_row + kRows; ++r) {
    for (float* row : {tiles.p + r * kKeys, tiles.ds + r * kKeys}) {
      std::fill(row, row + span.begin, 0.0F);
      std::fill(row + end, row + columns, 0.0F);
    }
  }
}

/// Adds what one query tile contributes to dk, dv, dq.
HWY_INLINE void tile_pair(const AttentionBlock& block, const KeyTile& tile, int head, int rows, Cover what,
                          const QueryTile& query, const Tiles& tiles) {
  const int D = block.head_dim;
  const int Dp = round_up(D, kLanes);
  const int columns = round_up(tile.count, kLanes);
  const int query_groups = (rows + kRows - 1) / kRows;
  const int key_groups = (tile.count + kRows - 1) / kRows;

  KeySpan span[kQueryGroups];
  for (int g = 0; g < query_groups; ++g) {
    const int r = g * kRows;
    const TokenRange range =
        range_of(query.position + r, tile.has_documents ? query.document + r : nullptr, kRows);
    span[g] = what == Cover::kFull ? whole_span(tile) : visible_span(block.mask, range, tile);
  }

  for (int begin = 0; begin < columns; begin += kPanel) {
    const int width = panel_width(columns, begin);
    const std::int64_t panel = static_cast<std::int64_t>(begin) * D - begin;
    for (int g = 0; g < query_groups; ++g) {
      const int from = std::max(begin, span[g].begin);
      const int to = std::min(begin + width, round_up(span[g].end, kLanes));
      if (from >= to) continue;
      const int row = g * kRows;
      multiply_rows<Start::kZero>((to - from) / kLanes, query.q + row * D, D, 1,
                                  tiles.k_transposed + panel + from, width, D, tiles.p + row * kKeys + from,
                                  kKeys);
    }
    for (int g = 0; g < query_groups; ++g) {
      const int from = std::max(begin, span[g].begin);
      const int to = std::min(begin + width, round_up(span[g].end, kLanes));
      if (from >= to) continue;
      const int row = g * kRows;
      multiply_rows<Start::kZero>((to - from) / kLanes, query.d_o + row * D, D, 1,
                                  tiles.v_transposed + panel + from, width, D, tiles.ds + row * kKeys + from,
                                  kKeys);
    }
  }
  for (int g = 0; g < query_groups; ++g) {
    probabilities(block, tile, span[g], head, query, g * kRows, tiles);
    if (what == Cover::kPartial) clear_outside(span[g], g * kRows, columns, tiles);
  }

  // The query groups that see any key of a group of keys: the rows its column sums run over.
  int first[kKeyGroups];
  int last[kKeyGroups];
  for (int c = 0; c < key_groups; ++c) {
    first[c] = what == Cover::kFull ? 0 : query_groups;
    last[c] = what == Cover::kFull ? query_groups : 0;
    if (what == Cover::kFull) continue;
    for (int g = 0; g < query_groups; ++g) {
      if (span[g].begin >= (c + 1) * kRows || span[g].end <= c * kRows) continue;
      first[c] = std::min(first[c], g);
      last[c] = g + 1;
    }
  }
  for (int begin = 0; begin < Dp; begin += kPanel) {
    const int width = panel_width(Dp, begin);
    const std::int64_t panel = static_cast<std::int64_t>(begin) * kQueries;
    const auto add_columns = [&](const float* scores, const float* panels, float* sum) HWY_ATTR {
      for (int c = 0; c < key_groups; ++c) {
        if (first[c] >= last[c]) continue;
        const int row = first[c] * kRows;
        multiply_rows<Start::kKeep>(width / kLanes, scores + row * kKeys + c * kRows, 1, kKeys,
                                    panels + panel + row * width, width,
                                    std::min(last[c] * kRows, rows) - row, sum + c * kRows * Dp + begin, Dp);
      }
    };
    add_columns(tiles.p, query.d_o_panels, tiles.dv);
    add_columns(tiles.ds, query.q_panels, tiles.dk);
    const float* keys = tiles.k_panels + static_cast<std::int64_t>(begin) * tile.count;
    for (int g = 0; g < query_groups; ++g) {
      const int row = g * kRows;
      multiply_rows<Start::kZero>(width / kLanes, tiles.ds + row * kKeys + span[g].begin, kKeys, 1,
                                  keys + static_cast<std::int64_t>(span[g].begin) * width, width,
                                  span[g].end - span[g].begin, tiles.dq + row * Dp + begin, Dp);
    }
  }
}

HWY_INLINE void load_query_tile(const AttentionBackward& work, int head, std::int64_t begin, int rows,
                                const QueryTile& query) {
  const AttentionBlock& block = work.block;
  const int D = block.head_dim;
  const float* q = block.q + begin * block.q_stride + head * D;
  const float* d_o = work.d_o + begin * work.o_stride + head * D;
  const int padded = round_up(rows, kRows);
  pack_rows(query.q, q, block.q_stride, rows, padded, D, block.scale);
  pack_rows(query.d_o, d_o, work.o_stride, rows, padded, D, 1.0F);
  pack_panels(query.q_panels, q, block.q_stride, rows, D, block.scale, kQueries);
  pack_panels(query.d_o_panels, d_o, work.o_stride, rows, D, 1.0F, kQueries);
  for (int r = 0; r < padded; ++r) {
    const std::int64_t i = head * block.q_tokens + begin + r;
    const bool seen = r < rows && work.lse[i] != kNone;
    query.lse[r] = seen ? work.lse[i] * kLog2e : -kNone;
    query.delta[r] = seen ? work.delta[i] : 0.0F;
  }
}

HWY_INLINE void add_rows(float* to, std::int64_t stride, const float* from, int Dp, int rows, int D,
                         float factor) {
  for (int r = 0; r < rows; ++r) {
    for (int d = 0; d < D; ++d) to[r * stride + d] += factor * from[r * Dp + d];
  }
}

void run(const Unit& unit) {
  static thread_local Scratch scratch;
  static thread_local KeyTile tile;
  const AttentionBackward& work = *unit.work;
  const AttentionBlock& block = work.block;
  const int D = block.head_dim;
  const int Dp = round_up(D, kLanes);
  const int ratio = block.heads / block.kv_heads;
  const auto query_tiles = static_cast<int>((block.q_tokens + kQueries - 1) / kQueries);
  scratch.reserve(2 * kQueries * D + 3 * kQueries * Dp + 4 * kQueries + 2 * kKeys * D + 3 * kKeys * Dp +
                  2 * kQueries * kKeys + 17 * Scratch::kAlign);
  const QueryTile query{scratch.take(kQueries * D),
                        scratch.take(kQueries * D),
                        scratch.take(kQueries * Dp),
                        scratch.take(kQueries * Dp),
                        scratch.take(kQueries),
                        scratch.take(kQueries),
                        reinterpret_cast<std::int32_t*>(scratch.take(kQueries)),
                        reinterpret_cast<std::int32_t*>(scratch.take(kQueries))};
  const Tiles tiles{scratch.take(kKeys * D),        scratch.take(kKeys * D),
                    scratch.take(kKeys * Dp),       scratch.take(kKeys * Dp),
                    scratch.take(kKeys * Dp),       scratch.take(kQueries * kKeys),
                    scratch.take(kQueries * kKeys), scratch.take(kQueries * Dp)};

  for (std::int64_t j = unit.kv_begin; j < unit.kv_end; j += kKeys) {
    const float* k = block.k + j * block.kv_stride + unit.kv_head * D;
    const float* v = block.v + j * block.kv_stride + unit.kv_head * D;
    tile.load(block.mask, j, static_cast<int>(std::min<std::int64_t>(kKeys, unit.kv_end - j)));
    bool touched = false;
    for (int n = unit.share; n < ratio * query_tiles; n += unit.shares) {
      const int head = unit.kv_head * ratio + n / query_tiles;
      const std::int64_t i = static_cast<std::int64_t>(n % query_tiles) * kQueries;
      const int rows = static_cast<int>(std::min<std::int64_t>(kQueries, block.q_tokens - i));
      for (int r = 0; r < round_up(rows, kRows); ++r) {
        const std::int64_t from = i + std::min(r, rows - 1);
        query.position[r] = block.mask.q_position[from];
        query.document[r] = tile.has_documents ? block.mask.q_document[from] : 0;
      }
      const TokenRange range = range_of(query.position, tile.has_documents ? query.document : nullptr, rows);
      const Cover what = cover(block.mask, range, tile.all);
      if (what == Cover::kEmpty) continue;
      if (!touched) {
        touched = true;
        pack_transposed(tiles.k_transposed, k, block.kv_stride, tile.count, D);
        pack_transposed(tiles.v_transposed, v, block.kv_stride, tile.count, D);
        pack_panels(tiles.k_panels, k, block.kv_stride, tile.count, D, 1.0F, tile.count);
        std::fill(tiles.dk, tiles.dk + kKeys * Dp, 0.0F);
        std::fill(tiles.dv, tiles.dv + kKeys * Dp, 0.0F);
      }
      load_query_tile(work, head, i, rows, query);
      tile_pair(block, tile, head, rows, what, query, tiles);
      add_rows(work.dq + i * work.dq_stride + head * D, work.dq_stride, tiles.dq, Dp, rows, D, block.scale);
    }
    float* dk = unit.dk + (j - unit.kv_begin) * unit.stride;
    float* dv = unit.dv + (j - unit.kv_begin) * unit.stride;
    if (unit.add && touched) {
      add_rows(dk, unit.stride, tiles.dk, Dp, tile.count, D, 1.0F);
      add_rows(dv, unit.stride, tiles.dv, Dp, tile.count, D, 1.0F);
    } else if (!unit.add) {
      for (int r = 0; r < tile.count; ++r) {
        if (touched) {
          std::copy_n(tiles.dk + r * Dp, D, dk + r * unit.stride);
          std::copy_n(tiles.dv + r * Dp, D, dv + r * unit.stride);
        } else {
          std::fill_n(dk + r * unit.stride, D, 0.0F);
          std::fill_n(dv + r * unit.stride, D, 0.0F);
        }
      }
    }
  }
}

}  // namespace backward

void backward_unit(const tessera::kernels::backward::Unit& unit) { backward::run(unit); }

}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
HWY_EXPORT(backward_unit);

namespace {

using backward::Unit;

/// Shares per key/value head, so that about kUnits units keep that many workers busy. From shapes alone.
int shares_of(std::span<const AttentionBackward> work) {
  constexpr std::int64_t kUnits = 16;
  std::int64_t heads = 0;
  std::int64_t most = 1;
  for (const AttentionBackward& item : work) {
    const AttentionBlock& block = item.block;
    if (block.q_tokens == 0 || block.kv_tokens == 0) continue;
    heads += block.kv_heads;
    most = std::max(most, (block.q_tokens + backward::kQueries - 1) / backward::kQueries *
                              (block.heads / block.kv_heads));
  }
  if (heads == 0) return 1;
  return static_cast<int>(std::min(most, (kUnits + heads - 1) / heads));
}

/// Every unit straight into dk and dv.
void backward_whole(std::span<const AttentionBackward> work) {
  std::vector<Unit> units;
  for (const AttentionBackward& item : work) {
    const int D = item.block.head_dim;
    if (item.block.q_tokens == 0) continue;
    for (int g = 0; g < item.block.kv_heads; ++g) {
      units.push_back(
          {&item, g, 0, 1, 0, item.block.kv_tokens, item.dk + g * D, item.dv + g * D, item.dkv_stride, true});
    }
  }
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t u) {
    HWY_DYNAMIC_DISPATCH(backward_unit)(units[static_cast<std::size_t>(u)]);
  });
}

/// Adds the partial dk and dv of consecutive units, one per share, to those of the block: keys
/// [first, last) of their run.
void sum_shares(const Unit* unit, int shares, std::int64_t first, std::int64_t last) {
  const AttentionBackward& work = *unit->work;
  const int D = work.block.head_dim;
  for (std::int64_t j = first; j < last; ++j) {
    const std::int64_t to = (unit->kv_begin + j) * work.dkv_stride + unit->kv_head * D;
    for (int share = 0; share < shares; ++share) {
      const float* dk = unit[share].dk + j * D;
      const float* dv = unit[share].dv + j * D;
      for (int d = 0; d < D; ++d) work.dk[to + d] += dk[d];
      for (int d = 0; d < D; ++d) work.dv[to + d] += dv[d];
    }
  }
}

/// Units write partial dk and dv of a run of keys, which are then summed in the order of the shares. Runs
/// bound the partial sums to kRun keys whatever the length of the block.
void backward_shared(std::span<const AttentionBackward> work, int shares) {
  constexpr std::int64_t kRun = 16 * backward::kKeys;
  static thread_local Buffer<float> partial;
  std::int64_t longest = 0;
  for (const AttentionBackward& item : work) longest = std::max(longest, item.block.kv_tokens);
  for (std::int64_t begin = 0; begin < longest; begin += kRun) {
    std::vector<Unit> units;
    std::int64_t floats = 0;
    for (const AttentionBackward& item : work) {
      const AttentionBlock& block = item.block;
      const std::int64_t end = std::min(begin + kRun, block.kv_tokens);
      if (block.q_tokens == 0 || begin >= end) continue;
      for (int g = 0; g < block.kv_heads; ++g) {
        for (int share = 0; share < shares; ++share) {
          units.push_back({&item, g, share, shares, begin, end, nullptr, nullptr, block.head_dim, false});
          floats += 2 * (end - begin) * block.head_dim;
        }
      }
    }
    if (floats > partial.size()) {
      partial = Buffer<float>();
      partial = Buffer<float>(floats);
    }
    float* next = partial.data();
    for (Unit& unit : units) {
      const std::int64_t size = (unit.kv_end - unit.kv_begin) * unit.work->block.head_dim;
      unit.dk = next;
      unit.dv = next + size;
      next += 2 * size;
    }
    parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t u) {
      HWY_DYNAMIC_DISPATCH(backward_unit)(units[static_cast<std::size_t>(u)]);
    });
    constexpr std::int64_t kPieces = 16;  // of a run, for as many workers where there is one head
    parallel_for(static_cast<std::int64_t>(units.size()) / shares * kPieces, [&](std::int64_t piece) {
      const Unit* unit = &units[static_cast<std::size_t>(piece / kPieces * shares)];
      const std::int64_t keys = unit->kv_end - unit->kv_begin;
      const std::int64_t first = keys * (piece % kPieces) / kPieces;
      const std::int64_t last = keys * (piece % kPieces + 1) / kPieces;
      sum_shares(unit, shares, first, last);
    });
  }
}

}  // namespace

void attention_backward(std::span<const AttentionBackward> work) {
  for (const AttentionBackward& item : work) {
    if (item.block.q_tokens == 0 || item.block.kv_tokens == 0) continue;
    check_block(item.block);
    TS_REQUIRE(item.dkv_stride >= static_cast<std::int64_t>(item.block.kv_heads) * item.block.head_dim,
               item.dkv_stride);
    TS_REQUIRE(item.dq_stride >= static_cast<std::int64_t>(item.block.heads) * item.block.head_dim,
               item.dq_stride);
  }
  const int shares = shares_of(work);
  if (shares == 1) {
    backward_whole(work);
  } else {
    backward_shared(work, shares);
  }
}

}  // namespace tessera::kernels
#endif
