// One unit of work is one head and a block of query rows; it walks the key tiles in order and keeps the
// state of its rows in scratch: o (unnormalised), m (largest score so far, base 2), l (sum of 2^(s - m)).
// What happens to a row does not depend on the rows beside it, so the cut into units is free.
#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/check_block.h"
#include "kernels/attention/dropout.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tile_mask.h"
#include "kernels/device/simd_targets.h"
#include "kernels/device/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace forward {

constexpr int kKeys = 128;                 // keys per tile
constexpr int kSubRows = 48;               // rows whose scores are held at a time
constexpr int kGroups = kSubRows / kRows;  // register blocks of rows
constexpr float kLog2e = 1.44269504088896340736F;
constexpr float kLn2 = 0.693147180559945309417F;

struct Rows {
  float* q;     // [rows, D], times scale * log2(e)
  float* o;     // [rows, Dp]
  float* m;     // [rows]
  float* l;     // [rows, lanes], partial sums per lane
  float* rise;  // [kSubRows]: first the largest score of the tile, then 2^(m before - m after)
};

/// Largest score of each row of a group over its span; masked pairs become -inf.
HWY_INLINE void mask_and_max(const AttentionBlock& block, const KeyTile& tile, KeySpan span, float* s,
                             const std::int32_t* q_position, const std::int32_t* q_document, float* largest) {
  for (int r = 0; r < kRows; ++r) {
    float* row = s + r * kKeys;
    Vec top = hn::Set(kF, kNone);
    for (int j = span.begin; j < span.end; j += kLanes) {
      Vec x = hn::Load(kF, row + j);
      if ((span.masked >> (j / kChunk) & 1U) != 0) {
        x = hn::IfThenElse(allowed(block.mask, tile, j, q_position[r], q_document[r]), x, hn::Set(kF, kNone));
        hn::Store(x, kF, row + j);
      }
      top = hn::Max(top, x);
    }
    largest[r] = greatest(top);
  }
}

/// m <- max(m, tile maximum), rise <- 2^(old m - new m); kSubRows rows. Rows that saw nothing yet stay at
/// m = -inf, with rise 0 on an o that is zero.
HWY_INLINE void raise_maximum(float* m, float* rise) {
  for (int r = 0; r < kSubRows; r += kLanes) {
    const Vec before = hn::LoadU(kF, m + r);
    const Vec after = hn::Max(before, hn::LoadU(kF, rise + r));
    const Vec none = hn::Set(kF, kNone);
    const Vec finite = hn::IfThenElse(hn::Eq(after, none), hn::Zero(kF), after);
    hn::StoreU(exp2(hn::Sub(before, finite)), kF, rise + r);
    hn::StoreU(after, kF, m + r);
  }
}

/// Scores become probabilities in place: 2^(s - m), l <- l * rise + their sum.
HWY_INLINE void exponentials(KeySpan span, float* s, const float* m, const float* rise, float* l) {
  for (int r = 0; r < kRows; ++r) {
    float* row = s + r * kKeys;
    const Vec top = hn::Set(kF, m[r] == kNone ? 0.0F : m[r]);
    Vec sum = hn::Mul(hn::Load(kF, l + r * kLanes), hn::Set(kF, rise[r]));
    for (int j = span.begin; j < span.end; j += kLanes) {
      const Vec p = exp2(hn::Sub(hn::Load(kF, row + j), top));
      hn::Store(p, kF, row + j);
      sum = hn::Add(sum, p);
    }
    hn::Store(sum, kF, l + r * kLanes);
  }
}

/// Dropped probabilities become 0, the others are scaled; the sum l keeps them all.
HWY_INLINE void drop(const Dropout& dropout, const KeyTile& tile, KeySpan span, float* s, int head,
                     const std::int32_t* q_position) {
  const std::uint32_t threshold = dropout_threshold(dropout.probability);
  const Vec scale = hn::Set(kF, 1.0F / (1.0F - dropout.probability));
  for (int r = 0; r < kRows; ++r) {
    const std::uint32_t seed = dropout_row_seed(dropout.key, dropout.first_head + head, q_position[r]);
    for (int j = span.begin; j < span.end; j += kLanes) {
      float* p = s + r * kKeys + j;
      hn::Store(hn::IfThenElseZero(kept(tile, j, seed, threshold), hn::Mul(hn::Load(kF, p), scale)), kF, p);
    }
  }
}

/// kSubRows rows against one key tile.
HWY_INLINE void sub_tile(const AttentionBlock& block, const KeyTile& tile, int head, const float* k_panels,
                         const float* v_panels, const Rows& rows, float* s, const std::int32_t* q_position,
                         const std::int32_t* q_document) {
  const int D = block.head_dim;
  const int Dp = round_up(D, kLanes);
  const std::int32_t* documents = tile.has_documents ? q_document : nullptr;
  const Cover what = cover(block.mask, range_of(q_position, documents, kSubRows), tile.all);
  if (what == Cover::kEmpty) return;

  KeySpan span[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    const TokenRange range =
        range_of(q_position + g * kRows, documents ? documents + g * kRows : nullptr, kRows);
    span[g] = what == Cover::kFull ? whole_span(tile) : visible_span(block.mask, range, tile);
  }

  const int columns = round_up(tile.count, kLanes);
  for (int begin = 0; begin < columns; begin += kPanel) {
    const int width = panel_width(columns, begin);
    const float* panel = k_panels + static_cast<std::int64_t>(begin) * D;
    for (int g = 0; g < kGroups; ++g) {
      const int from = std::max(begin, span[g].begin);
      const int to = std::min(begin + width, round_up(span[g].end, kLanes));
      if (from >= to) continue;
      multiply_rows<Start::kZero>((to - from) / kLanes, rows.q + g * kRows * D, D, 1, panel + (from - begin),
                                  width, D, s + g * kRows * kKeys + from, kKeys);
    }
  }

  for (int g = 0; g < kGroups; ++g) {
    mask_and_max(block, tile, span[g], s + g * kRows * kKeys, q_position + g * kRows, q_document + g * kRows,
                 rows.rise + g * kRows);
  }
  raise_maximum(rows.m, rows.rise);
  for (int g = 0; g < kGroups; ++g) {
    if (span[g].empty()) continue;
    exponentials(span[g], s + g * kRows * kKeys, rows.m + g * kRows, rows.rise + g * kRows,
                 rows.l + g * kRows * kLanes);
    if (block.dropout.probability > 0) {
      drop(block.dropout, tile, span[g], s + g * kRows * kKeys, head, q_position + g * kRows);
    }
  }

  for (int begin = 0; begin < Dp; begin += kPanel) {
    const int width = panel_width(Dp, begin);
    const float* panel = v_panels + static_cast<std::int64_t>(begin) * tile.count;
    for (int g = 0; g < kGroups; ++g) {
      if (span[g].empty()) continue;
      multiply_rows<Start::kScaled>(width / kLanes, s + g * kRows * kKeys + span[g].begin, kKeys, 1,
                                    panel + static_cast<std::int64_t>(span[g].begin) * width, width,
                                    span[g].end - span[g].begin, rows.o + g * kRows * Dp + begin, Dp,
                                    rows.rise + g * kRows);
    }
  }
}

void unit(const AttentionForward& work, int head, std::int64_t q_begin, std::int64_t q_end) {
  static thread_local Scratch scratch;
  static thread_local KeyTile tile;
  const AttentionBlock& block = work.block;
  const int D = block.head_dim;
  const int Dp = round_up(D, kLanes);
  const int g = head / (block.heads / block.kv_heads);
  const int rows = static_cast<int>(q_end - q_begin);
  const int padded = round_up(rows, kSubRows);
  scratch.reserve(Scratch::padded(padded * D) + Scratch::padded(padded * Dp) +
                  Scratch::padded(padded * kLanes) + 3 * Scratch::padded(padded) + Scratch::padded(kSubRows) +
                  Scratch::padded(kSubRows * kKeys) + Scratch::padded(kKeys * D) +
                  Scratch::padded(kKeys * Dp));
  const Rows all{scratch.take(padded * D), scratch.take(padded * Dp), scratch.take(padded),
                 scratch.take(padded * kLanes), scratch.take(kSubRows)};
  auto* q_position = reinterpret_cast<std::int32_t*>(scratch.take(padded));
  auto* q_document = reinterpret_cast<std::int32_t*>(scratch.take(padded));
  float* s = scratch.take(kSubRows * kKeys);
  float* k_panels = scratch.take(kKeys * D);
  float* v_panels = scratch.take(kKeys * Dp);

  pack_rows(all.q, block.q + q_begin * block.q_stride + head * D, block.q_stride, rows, padded, D,
            block.scale * kLog2e);
  std::fill(all.o, all.o + padded * Dp, 0.0F);
  std::fill(all.l, all.l + padded * kLanes, 0.0F);
  for (int r = 0; r < padded; ++r) {
    const std::int64_t i = q_begin + std::min(r, rows - 1);  // rows past the end see what the last row sees
    q_position[r] = block.mask.q_position[i];
    q_document[r] = block.mask.q_document == nullptr ? 0 : block.mask.q_document[i];
    all.m[r] = kNone;
    if (r >= rows) continue;
    const float lse = work.lse[head * block.q_tokens + i];
    if (lse == kNone) continue;
    all.m[r] = lse * kLog2e;
    all.l[r * kLanes] = 1.0F;
    std::copy_n(work.o + i * work.o_stride + head * D, D, all.o + r * Dp);
  }
  const TokenRange q_range =
      range_of(q_position, block.mask.q_document == nullptr ? nullptr : q_document, padded);

  for (std::int64_t j = 0; j < block.kv_tokens; j += kKeys) {
    tile.load(block.mask, j, static_cast<int>(std::min<std::int64_t>(kKeys, block.kv_tokens - j)));
    if (cover(block.mask, q_range, tile.all) == Cover::kEmpty) continue;
    pack_transposed(k_panels, block.k + j * block.kv_stride + g * D, block.kv_stride, tile.count, D);
    pack_panels(v_panels, block.v + j * block.kv_stride + g * D, block.kv_stride, tile.count, D, 1.0F,
                tile.count);
    for (int r = 0; r < padded; r += kSubRows) {
      sub_tile(block, tile, head, k_panels, v_panels,
               {all.q + r * D, all.o + r * Dp, all.m + r, all.l + r * kLanes, all.rise}, s, q_position + r,
               q_document + r);
    }
  }

  for (int r = 0; r < rows; ++r) {
    const std::int64_t i = q_begin + r;
    const float sum = hn::GetLane(hn::SumOfLanes(kF, hn::Load(kF, all.l + r * kLanes)));
    float& lse = work.lse[head * block.q_tokens + i];
    if (all.m[r] == kNone || (sum == 1.0F && all.m[r] == lse * kLog2e)) continue;  // nothing was added
    float* o = work.o + i * work.o_stride + head * D;
    const float scale = 1.0F / sum;
    for (int d = 0; d < D; ++d) o[d] = all.o[r * Dp + d] * scale;
    lse = (all.m[r] + std::log2(sum)) * kLn2;
  }
}

}  // namespace forward

void forward_unit(const AttentionForward& work, int head, std::int64_t q_begin, std::int64_t q_end) {
  forward::unit(work, head, q_begin, q_end);
}

}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
HWY_EXPORT(forward_unit);

namespace {

/// Query rows per unit: many share the re-laid-out keys, few give every worker something to do.
std::int64_t rows_per_unit(std::span<const AttentionForward> work) {
  constexpr std::int64_t kMost = 384;
  constexpr std::int64_t kLeast = 96;
  std::int64_t rows = kMost;
  for (; rows > kLeast; rows /= 2) {
    std::int64_t units = 0;
    for (const AttentionForward& item : work) {
      units += (item.block.q_tokens + rows - 1) / rows * item.block.heads;
    }
    if (parallel_threads() == 1 || units >= 4 * parallel_threads()) break;
  }
  return rows;
}

struct Unit {
  const AttentionForward* work;
  int head;
  std::int64_t q_begin;
};

}  // namespace

void attention_forward(std::span<const AttentionForward> work) {
  const std::int64_t rows = rows_per_unit(work);
  std::vector<Unit> units;
  for (const AttentionForward& item : work) {
    const AttentionBlock& block = item.block;
    if (block.q_tokens == 0 || block.kv_tokens == 0) continue;
    check_block(block);
    TS_REQUIRE(item.o_stride >= static_cast<std::int64_t>(block.heads) * block.head_dim, item.o_stride);
    // Last rows first: under a causal mask they are the longest units.
    for (std::int64_t q = (block.q_tokens - 1) / rows * rows; q >= 0; q -= rows) {
      for (int h = 0; h < block.heads; ++h) units.push_back({&item, h, q});
    }
  }
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t u) {
    const Unit& unit = units[static_cast<std::size_t>(u)];
    HWY_DYNAMIC_DISPATCH(forward_unit)
    (*unit.work, unit.head, unit.q_begin, std::min(unit.q_begin + rows, unit.work->block.q_tokens));
  });
}

}  // namespace tessera::kernels
#endif
