/// Which part of a tile of scores has to be computed, and where the mask must be looked at key by key.
///
/// Ranges of positions and documents decide it without touching pairs: a tile whose ranges say "all
/// allowed" runs unmasked, one that says "none" is skipped, and between them a group of query rows gets
/// the run of keys it can see, in chunks of kChunk keys, with one bit per chunk that needs the mask.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/attention/token_range.h"

namespace tessera::kernels {

/// Keys per classified chunk: a multiple of every vector width in use (4, 8, 16 lanes).
inline constexpr int kChunk = 16;
/// Most keys of a tile.
inline constexpr int kMaxKeyTile = 192;
inline constexpr int kMaxChunks = kMaxKeyTile / kChunk;

/// Requires count >= 1. document may be null.
inline TokenRange range_of(const std::int32_t* position, const std::int32_t* document, std::int64_t count) {
  TokenRange range{position[0], position[0], 0, 0};
  for (std::int64_t i = 1; i < count; ++i) {
    range.position_min = std::min(range.position_min, position[i]);
    range.position_max = std::max(range.position_max, position[i]);
  }
  if (document != nullptr) {
    range.document_min = range.document_max = document[0];
    for (std::int64_t i = 1; i < count; ++i) {
      range.document_min = std::min(range.document_min, document[i]);
      range.document_max = std::max(range.document_max, document[i]);
    }
  }
  return range;
}

inline Cover cover(const BlockMask& mask, const TokenRange& q, const TokenRange& k) {
  return cover(mask.causal, mask.window, q, k);
}

/// Coordinates of the keys of one tile, and their ranges per chunk.
struct KeyTile {
  alignas(64) std::int32_t position[kMaxKeyTile];
  alignas(64) std::int32_t document[kMaxKeyTile];
  alignas(
      64) std::uint32_t spread[kMaxKeyTile];  // position * golden ratio, the key's share of a dropout draw
  TokenRange chunk[kMaxChunks];
  TokenRange all;
  int count = 0;
  bool has_documents = false;

  void load(const BlockMask& mask, std::int64_t begin, int keys) {
    count = keys;
    has_documents = mask.k_document != nullptr;
    const int end = (keys + kChunk - 1) / kChunk * kChunk;
    for (int j = 0; j < end; ++j) {
      const std::int64_t from = begin + std::min(j, keys - 1);  // lanes past the end repeat the last key
      position[j] = mask.k_position[from];
      document[j] = has_documents ? mask.k_document[from] : 0;
      spread[j] = static_cast<std::uint32_t>(position[j]) * 0x9e3779b9U;
    }
    for (int c = 0; c * kChunk < end; ++c) {
      chunk[c] = range_of(position + c * kChunk, has_documents ? document + c * kChunk : nullptr, kChunk);
    }
    all = range_of(position, has_documents ? document : nullptr, end);
  }
};

/// The keys [begin, end) of a tile that a group of rows may see; begin is a multiple of kChunk. Bit c of
/// `masked`: chunk c holds pairs that are not allowed, or lanes past the last key.
struct KeySpan {
  int begin = 0;
  int end = 0;
  std::uint32_t masked = 0;

  [[nodiscard]] bool empty() const { return begin == end; }
};

inline std::uint32_t tail_bit(const KeyTile& tile) {
  return tile.count % kChunk == 0 ? 0U : 1U << (tile.count / kChunk);
}

inline KeySpan whole_span(const KeyTile& tile) { return {0, tile.count, tail_bit(tile)}; }

inline KeySpan visible_span(const BlockMask& mask, const TokenRange& q, const KeyTile& tile) {
  KeySpan span;
  const int chunks = (tile.count + kChunk - 1) / kChunk;
  int first = chunks;
  int last = -1;
  for (int c = 0; c < chunks; ++c) {
    const Cover what = cover(mask, q, tile.chunk[c]);
    if (what != Cover::kFull) span.masked |= 1U << c;
    if (what == Cover::kEmpty) continue;
    first = std::min(first, c);
    last = c;
  }
  if (last < 0) return {};
  span.begin = first * kChunk;
  span.end = std::min((last + 1) * kChunk, tile.count);
  span.masked |= tail_bit(tile);
  return span;
}

}  // namespace tessera::kernels
