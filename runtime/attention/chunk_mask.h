/// Which chunk of queries sees which chunk of keys: what of a tile is work, and which chunks must travel.
///
/// A chunk is at most two runs of tokens that lie close together, cut at its widest gap: the two halves of a
/// zigzag chunk. A pair of chunks is judged by the first and last token of each run, O(1): "sees" does not
/// promise that something is visible, its absence does that nothing is. For chunks that are runs without
/// holes (zigzag, contiguous) and documents of one piece the judgement is exact.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/index.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/token_layout.h"

namespace tessera::runtime {

/// [begin, end) of a chunk's tokens.
struct TokenRun {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
/// `positions` increasing. Either run may be empty.
[[nodiscard]] std::array<TokenRun, 2> token_runs(std::span<const std::int32_t> positions);

/// First and last token of a run, which is not empty: positions and documents (0 where there are none).
struct RunEnds {
  std::int32_t first = 0;
  std::int32_t last = 0;
  std::int32_t first_document = 0;
  std::int32_t last_document = 0;
};
/// False only if no query of `q` sees any key of `k`. Needs documents that do not decrease along a sequence.
[[nodiscard]] bool may_see(const RunEnds& q, const RunEnds& k, bool causal, std::int32_t window);

/// Positions of the tokens of super-rank s, increasing.
[[nodiscard]] std::vector<std::int32_t> super_rank_positions(const MeshShape& shape, TokenLayout layout,
                                                             std::int64_t tokens, int super_rank);

class ChunkMask {
 public:
  /// Every chunk of `chunks` sees every one.
  explicit ChunkMask(int chunks)
      : chunks_(chunks), sees_(static_cast<std::size_t>(chunks) * static_cast<std::size_t>(chunks), 1) {}

  [[nodiscard]] int chunks() const { return chunks_; }
  [[nodiscard]] bool sees(Chunk q, Chunk kv) const { return sees_[at(q, kv)] != 0; }
  void set(Chunk q, Chunk kv, bool sees) { sees_[at(q, kv)] = sees ? 1 : 0; }
  bool operator==(const ChunkMask&) const = default;

 private:
  [[nodiscard]] std::size_t at(Chunk q, Chunk kv) const {
    return static_cast<std::size_t>(q.value) * static_cast<std::size_t>(chunks_) +
           static_cast<std::size_t>(kv.value);
  }
  int chunks_;
  std::vector<char> sees_;
};

/// What decides who sees whom. `documents`: as in AttentionCall, [sequences][tokens] flattened; empty: one
/// per sequence.
struct MaskRule {
  bool causal = true;
  std::int32_t window = 0;  // tokens; 0: unlimited
  std::int64_t sequences = 1;
  std::span<const std::int32_t> documents;
};

/// The chunks of `shape`'s super-ranks; one sees another if it does in any sequence. O(tokens + n^2) for n
/// super-ranks.
[[nodiscard]] ChunkMask chunk_mask(const MeshShape& shape, TokenLayout layout, std::int64_t tokens,
                                   const MaskRule& rule);

}  // namespace tessera::runtime
