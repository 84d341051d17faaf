/// What a mask needs to know of one chunk: positions, documents, and ranges that rule blocks out unseen.
///
/// Every rank knows the layout, hence the positions of every chunk in its tile: no table travels. A mask is
/// a function of positions and documents alone, so any layout serves any mask.
///
/// Chunk s of n/u super-ranks holds the tokens of ranks s*u .. s*u + u - 1, in increasing position: sub-tiles
/// of kernels then span few positions and whole ones fall outside the mask.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/attention/chunk_mask.h"

namespace tessera::runtime {

class ChunkTokens {
 public:
  /// `positions` increasing; `sequences` in the batch.
  ChunkTokens(std::vector<std::int32_t> positions, std::int64_t sequences);

  /// Takes this chunk's part of [sequences][tokens] flattened; empty: one document per sequence.
  void set_documents(std::span<const std::int32_t> documents, std::int64_t tokens);

  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(positions_.size()); }
  [[nodiscard]] const std::vector<std::int32_t>& positions() const { return positions_; }
  /// [tokens()] of one sequence; null without documents.
  [[nodiscard]] const std::int32_t* documents(std::int64_t sequence) const {
    return has_documents_ ? documents_.data() + sequence * tokens() : nullptr;
  }

 private:
  friend bool nothing_visible(const ChunkTokens& q, const ChunkTokens& k, std::int64_t sequence, bool causal,
                              std::int32_t window);
  [[nodiscard]] RunEnds ends(const TokenRun& run, std::int64_t sequence) const;

  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> documents_;  // [sequences][tokens]
  std::array<TokenRun, 2> runs_;
  bool has_documents_ = false;
};

/// True only if no query of `q` sees any key of `k` in this sequence; judged as chunk_mask.h says.
[[nodiscard]] bool nothing_visible(const ChunkTokens& q, const ChunkTokens& k, std::int64_t sequence,
                                   bool causal, std::int32_t window);

}  // namespace tessera::runtime
