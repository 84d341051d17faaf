/// What one rank holds of its tile, and the memory for it, allocated once.
///
/// Legend: B sequences, T tokens of a chunk, H and G query and key/value heads of this rank, D head width;
///         A = B*T*H*D floats, L = B*H*T floats, K = B*T*G*D floats.
///
///   row bundle      q [B,T,H,D], d_o [B,T,H,D], lse [B,H,T], delta [B,H,T]   forward: q alone
///   row partial     o [B,T,H,D], lse [B,H,T]                                 backward: dq [B,T,H,D]
///   column bundle   k [B,T,G,D], v [B,T,G,D]
///   column grad     dk [B,T,G,D], dv [B,T,G,D]                               backward only
///
/// The parts of each lie one behind the other: what travels is one message. Both passes use the same memory.
/// Slot 0 is the rank's own; where it can stay in the caller's arrays it has no memory here. Slots that the
/// mask leaves unvisited (ring_messages.h) have none either.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device/buffer.h"
#include "runtime/attention/chunk_tokens.h"

namespace tessera::runtime {

/// The tile, from the point of view of the rank that computes it.
struct TileGeometry {
  std::int64_t batch = 0;  // B
  int heads = 0;           // H, this rank's share
  int kv_heads = 0;        // G, this rank's share
  int head_dim = 0;        // D
  int first_head = 0;      // global index of query head 0
  std::vector<ChunkTokens> rows;
  std::vector<ChunkTokens> columns;
  std::vector<char> row_visited;  // by slot: whether any call may bring something there
  std::vector<char> column_visited;

  [[nodiscard]] std::int64_t row_tokens(int p) const { return rows[static_cast<std::size_t>(p)].tokens(); }
  [[nodiscard]] std::int64_t column_tokens(int q) const {
    return columns[static_cast<std::size_t>(q)].tokens();
  }
  [[nodiscard]] std::int64_t query_floats(int p) const { return row_tokens(p) * batch * heads * head_dim; }
  [[nodiscard]] std::int64_t stat_floats(int p) const { return row_tokens(p) * batch * heads; }
  [[nodiscard]] std::int64_t key_floats(int q) const {
    return column_tokens(q) * batch * kv_heads * head_dim;
  }
};

/// Which parts of slot 0 need memory of their own.
struct OwnSlot {
  bool row_bundle = false;
  bool row_partial = false;
  bool column_bundle = false;
  bool column_grad = false;
};

class TileBuffers {
 public:
  TileBuffers(const TileGeometry& tile, OwnSlot own);
  /// At least so many staging buffers. Allocates what is missing.
  void reserve_staging(int rows, int columns);

  /// Null for what has no memory here.
  [[nodiscard]] float* row_bundle(int p) { return at(row_bundle_, p); }
  [[nodiscard]] float* row_partial(int p) { return at(row_partial_, p); }
  [[nodiscard]] float* column_bundle(int q) { return at(column_bundle_, q); }
  [[nodiscard]] float* column_grad(int q) { return at(column_grad_, q); }
  /// Room for the largest partial (gradient) of the tile.
  [[nodiscard]] float* row_staging(int i) { return row_staging_[static_cast<std::size_t>(i)].data(); }
  [[nodiscard]] float* column_staging(int i) { return column_staging_[static_cast<std::size_t>(i)].data(); }

 private:
  [[nodiscard]] float* at(const std::vector<std::int64_t>& offsets, int i) {
    const std::int64_t offset = offsets[static_cast<std::size_t>(i)];
    return offset < 0 ? nullptr : arena_.data() + offset;
  }

  std::vector<std::int64_t> row_bundle_, row_partial_, column_bundle_, column_grad_;  // offsets; -1: none
  kernels::Buffer<float> arena_;
  std::int64_t largest_partial_ = 0;  // floats
  std::int64_t largest_grad_ = 0;
  std::vector<kernels::Buffer<float>> row_staging_, column_staging_;
};

}  // namespace tessera::runtime
