/// Which tiles and which pairs a kernel has to look at, and which pairs dropout keeps. Shared by all passes
/// and paths on the GPU; the rules are those of token_range.h, BlockMask and dropout.h.
///
/// Rows are the tokens that a thread block owns, columns those it streams through: queries and keys in the
/// forward pass and for dq, keys and queries for dk and dv (kRowsAreKeys).
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/dropout.h"

namespace tessera::kernels::cuda {

inline constexpr float kNone = -INFINITY;
inline constexpr float kLog2E = 1.4426950408889634F;
inline constexpr int kRangeTokens = 32;  // of one entry of CudaTokens::range

__device__ inline int warp_lane() { return static_cast<int>(threadIdx.x) % 32; }

/// Range of tokens [begin, begin + count) of `tokens`, widened to whole entries. Requires begin < tokens.
__device__ inline TokenRange range_of(const CudaTokens& of, int begin, int count, int tokens) {
  const int last = (min(begin + count, tokens) - 1) / kRangeTokens;
  TokenRange range = of.range[begin / kRangeTokens];
  for (int i = begin / kRangeTokens + 1; i <= last; ++i) range = join(range, of.range[i]);
  return range;
}

template <bool kRowsAreKeys>
__device__ inline Cover cover_of(const CudaBlockMask& mask, const TokenRange& rows,
                                 const TokenRange& columns) {
  return kRowsAreKeys ? cover(mask.causal, mask.window, columns, rows)
                      : cover(mask.causal, mask.window, rows, columns);
}

/// The tiles of N columns that some row of a range may see, in increasing order. Every thread of the block
/// walks through the same list: 32 tiles are judged at a time, one to a lane.
template <bool kRowsAreKeys, int N>
class VisibleTiles {
 public:
  __device__ VisibleTiles(const CudaBlockMask& mask, const TokenRange& rows, int columns)
      : mask_(mask), rows_(rows), columns_(columns) {}

  /// Index of the next tile, -1 after the last. Every lane of the warp calls it.
  __device__ int next() {
    while (bits_ == 0) {
      if (judged_ * N >= columns_) return -1;
      const int tile = judged_ + warp_lane();
      const CudaTokens& side = kRowsAreKeys ? mask_.q : mask_.k;
      const bool seen =
          tile * N < columns_ &&
          cover_of<kRowsAreKeys>(mask_, rows_, range_of(side, tile * N, N, columns_)) != Cover::kEmpty;
      bits_ = __ballot_sync(0xffffffffU, seen);
      judged_ += 32;
    }
    const int bit = __ffs(static_cast<int>(bits_)) - 1;
    bits_ &= bits_ - 1;
    return judged_ - 32 + bit;
  }
  __device__ void restart() {
    judged_ = 0;
    bits_ = 0;
  }

 private:
  const CudaBlockMask& mask_;
  TokenRange rows_;
  int columns_;
  int judged_ = 0;          // tiles, a multiple of 32
  std::uint32_t bits_ = 0;  // of the last 32 judged: visible and not yet returned
};

/// Coordinates of one token. Past the last token they are the last one's.
struct Coordinates {
  std::int32_t position;
  std::int32_t document;
};
__device__ inline Coordinates coordinates(const CudaTokens& of, int token, int tokens) {
  const int at = min(token, tokens - 1);
  return {of.position[at], of.document == nullptr ? 0 : of.document[at]};
}

__device__ inline bool sees(const CudaBlockMask& mask, const Coordinates& q, const Coordinates& k) {
  const std::int32_t distance = q.position - k.position;
  if (q.document != k.document || (mask.causal && distance < 0)) return false;
  return mask.window == 0 || (distance < mask.window && -distance < mask.window);
}

// Of a warp's scores (fragments as in attention_tile.cuh), bit 4 j + e of word m tells about s[m][j][e]. Rows
// and columns of the warp's piece begin at `row` and `column`, of `rows` and `columns` tokens in all.

/// The pairs that may see each other. Columns past the last may not.
template <bool kRowsAreKeys, int R, int N>
__device__ inline void visible_scores(std::uint32_t (&bits)[R], const CudaBlockMask& mask, int row, int rows,
                                      int column, int columns) {
  static_assert(N <= 64, "a word has the scores of 16 rows and 64 columns");
  const CudaTokens& row_side = kRowsAreKeys ? mask.k : mask.q;
  const CudaTokens& column_side = kRowsAreKeys ? mask.q : mask.k;
  Coordinates own[R][2];
#pragma unroll
  for (int m = 0; m < R; ++m) {
    bits[m] = 0;
#pragma unroll
    for (int x = 0; x < 2; ++x) {
      own[m][x] = coordinates(row_side, row + 16 * m + warp_lane() / 4 + 8 * x, rows);
    }
  }
#pragma unroll 1  // its loads, all in flight at once, would push the sums out of the registers
  for (int j = 0; j < N / 8; ++j) {
#pragma unroll
    for (int y = 0; y < 2; ++y) {
      const int at = column + 8 * j + warp_lane() % 4 * 2 + y;
      const Coordinates other = coordinates(column_side, at, columns);
#pragma unroll
      for (int m = 0; m < R; ++m) {
#pragma unroll
        for (int x = 0; x < 2; ++x) {
          const bool seen = kRowsAreKeys ? sees(mask, other, own[m][x]) : sees(mask, own[m][x], other);
          if (at < columns && seen) bits[m] |= 1U << (4 * j + 2 * x + y);
        }
      }
    }
  }
}

/// The pairs that dropout keeps for query head `head` of the block.
template <bool kRowsAreKeys, int R, int N>
__device__ inline void kept_scores(std::uint32_t (&bits)[R], const Dropout& dropout, int head,
                                   const CudaBlockMask& mask, int row, int rows, int column, int columns) {
  const CudaTokens& row_side = kRowsAreKeys ? mask.k : mask.q;
  const CudaTokens& column_side = kRowsAreKeys ? mask.q : mask.k;
  const std::uint32_t threshold = dropout_threshold(dropout.probability);
  const auto seed = [&](std::int32_t q_position) {
    return dropout_row_seed(dropout.key, dropout.first_head + head, q_position);
  };
  std::uint32_t own[R][2];  // the row's seed, or its position where rows are keys
#pragma unroll
  for (int m = 0; m < R; ++m) {
    bits[m] = 0;
#pragma unroll
    for (int x = 0; x < 2; ++x) {
      const std::int32_t position =
          coordinates(row_side, row + 16 * m + warp_lane() / 4 + 8 * x, rows).position;
      own[m][x] = kRowsAreKeys ? static_cast<std::uint32_t>(position) : seed(position);
    }
  }
#pragma unroll 1  // its loads, all in flight at once, would push the sums out of the registers
  for (int j = 0; j < N / 8; ++j) {
#pragma unroll
    for (int y = 0; y < 2; ++y) {
      const int at = column + 8 * j + warp_lane() % 4 * 2 + y;
      const std::int32_t position = coordinates(column_side, at, columns).position;
      const std::uint32_t column_seed = kRowsAreKeys ? seed(position) : 0;
#pragma unroll
      for (int m = 0; m < R; ++m) {
#pragma unroll
        for (int x = 0; x < 2; ++x) {
          const bool keep = kRowsAreKeys
                                ? dropout_keep(column_seed, static_cast<std::int32_t>(own[m][x]), threshold)
                                : dropout_keep(own[m][x], position, threshold);
          if (keep) bits[m] |= 1U << (4 * j + 2 * x + y);
        }
      }
    }
  }
}

__device__ inline bool score_bit(std::uint32_t word, int j, int e) { return (word >> (4 * j + e) & 1U) != 0; }

}  // namespace tessera::kernels::cuda
