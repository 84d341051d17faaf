/// The forward and the backward pass as work on one tile: which kernel runs on which slots, what travels.
///
/// Slices. A block is computed in slices of about kSliceFlops, cut between sequences and key/value heads,
/// which the kernels treat independently: the result does not depend on the cut.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "runtime/attention/tile_buffers.h"
#include "runtime/attention/tile_run.h"

namespace tessera::runtime {

/// A few milliseconds on one core: how long transfers may go without being polled.
inline constexpr double kSliceFlops = 1e8;

/// What both passes know of a call.
struct TileCall {
  float scale = 0;
  bool causal = true;
  std::int32_t window = 0;
  float dropout = 0;
  std::span<const std::uint64_t> dropout_keys;  // empty: no dropout in this call
};

/// The rank's own chunk, row 0 and column 0. Where the tile has a bundle or partial of its own for slot 0,
/// the pointers are into it (tile_buffers.h).
struct OwnForward {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* o = nullptr;    // written
  float* lse = nullptr;  // written
};
struct OwnBackward {
  const float* q = nullptr;
  const float* d_o = nullptr;
  const float* lse = nullptr;
  const float* delta = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* dq = nullptr;  // written
  float* dk = nullptr;  // written
  float* dv = nullptr;  // written
};

/// What both passes do alike: cut blocks into slices of visible work.
class TilePass : public TileWork {
 public:
  TilePass(const TileGeometry& tile, TileBuffers& buffers, const TileCall& call)
      : tile_(tile), buffers_(buffers), call_(call) {}
  [[nodiscard]] int slices(const Block& block) final;

 protected:
  /// Heads [first, first + count) of one sequence, in key/value heads.
  struct Part {
    std::int64_t sequence = 0;
    int first = 0;
    int count = 0;
  };
  [[nodiscard]] virtual double flops_per_score() const = 0;  // per visible (i, j), head and head_dim
  [[nodiscard]] std::vector<Part> parts(const Block& block, int slice) const;
  /// The operands of a part but for q, k, v, which point to the first head of the first sequence.
  [[nodiscard]] kernels::AttentionBlock block(const Block& block, const Part& part, const float* q,
                                              const float* k, const float* v) const;

  // Offsets in floats of a part's first element within a slot's tensor.
  [[nodiscard]] std::int64_t query_offset(int row, const Part& part) const;
  [[nodiscard]] std::int64_t stat_offset(int row, const Part& part) const;
  [[nodiscard]] std::int64_t key_offset(int column, const Part& part) const;
  [[nodiscard]] int group() const { return tile_.heads / tile_.kv_heads; }

  const TileGeometry& tile_;
  TileBuffers& buffers_;
  TileCall call_;

 private:
  [[nodiscard]] std::int64_t parts_per_slice(const Block& block) const;
};

class ForwardTile final : public TilePass {
 public:
  /// Starts every partial at o = 0, lse = -inf.
  ForwardTile(const TileGeometry& tile, TileBuffers& buffers, const TileCall& call, const OwnForward& own);

  [[nodiscard]] std::span<const std::byte> outgoing(Transfer kind, int slot) override;
  [[nodiscard]] std::span<std::byte> incoming(Transfer kind, int slot, int staging) override;
  void compute(const Block& block, int slice) override;
  void add(Transfer kind, int slot, int staging) override;

 private:
  [[nodiscard]] double flops_per_score() const override { return 4; }
  OwnForward own_;
  std::vector<kernels::AttentionForward> work_;
};

class BackwardTile final : public TilePass {
 public:
  /// Starts every gradient at 0.
  BackwardTile(const TileGeometry& tile, TileBuffers& buffers, const TileCall& call, const OwnBackward& own);

  [[nodiscard]] std::span<const std::byte> outgoing(Transfer kind, int slot) override;
  [[nodiscard]] std::span<std::byte> incoming(Transfer kind, int slot, int staging) override;
  void compute(const Block& block, int slice) override;
  void add(Transfer kind, int slot, int staging) override;

 private:
  [[nodiscard]] double flops_per_score() const override { return 10; }
  OwnBackward own_;
  std::vector<kernels::AttentionBackward> work_;
};

}  // namespace tessera::runtime
