/// The tokens of a micro-batch in the order of their rows: what makes the GPU's embedding backward
/// deterministic without atomics. Made on the host, where the tokens come from, and uploaded with them.
///
/// Tokens of one row are added in increasing t, in strips of at most kStripTokens so that a frequent token
/// does not keep one block busy while the others wait. A row of one strip is added straight into the table;
/// the strips of a longer row leave partial sums, which are added in order.
///
/// Example: tokens {7, 3, 7, 9} of rows [4, 10), which is what a vocabulary-parallel rank has:
///   token {0, 2, 3}, strips {row 3 (of 7): token[0..2)}, {row 5 (of 9): token[2..3)}, no sums.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera::kernels {

inline constexpr std::int32_t kStripTokens = 64;

struct EmbeddingStrip {
  std::int32_t row = 0;    // of the rank's part of the table
  std::int32_t begin = 0;  // into EmbeddingOrder::token
  std::int32_t count = 0;
  std::int32_t slot = -1;  // of the partial sum; -1: straight into the table
};

struct EmbeddingSum {
  std::int32_t row = 0;
  std::int32_t first_slot = 0;
  std::int32_t slots = 0;
};

struct EmbeddingOrder {
  std::vector<std::int32_t> token;     // indices t, by row, increasing within a row
  std::vector<EmbeddingStrip> strips;  // by row
  std::vector<EmbeddingSum> sums;      // of rows of several strips
  std::int64_t slots = 0;              // partial sums that the strips leave
};

/// Requires  0 <= rows, fewer than 2^31 tokens. Tokens outside [first, first + rows) belong to other ranks
/// and are
///           left out. O(T log T).
[[nodiscard]] EmbeddingOrder embedding_order(std::span<const std::int32_t> tokens, std::int64_t first,
                                             std::int64_t rows);

}  // namespace tessera::kernels
