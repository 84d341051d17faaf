/// What the tensor-parallel ranks of one stage say to each other: the sequence-parallel form of Korthikanti
/// et al. 2022, arXiv:2205.05198. Between matrix products the rows (tokens) of the residual stream are spread
/// over the t ranks; before a column-parallel product they are gathered, after a row-parallel product the
/// partial results are summed and spread again. Nothing is held or normalised twice.
///
/// Legend    T rows of the stage's micro-batch, t ranks, S = ceil(T / t) rows of a block, W width.
///           "full" buffers are [t S, W]: block r is rows [r S, (r+1) S). The last blocks may lack rows: rows
///           from T on are padding that travels but is never read.
/// Example   T = 5, t = 2: S = 3; rank 0 owns rows 0 1 2, rank 1 rows 3 4 and one row of padding.
/// Traffic   each gather and each reduce_scatter sends (t-1) S W floats per rank (kTensor).
/// With one rank every operation is a no-op and own(x) == x.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

class TensorParallel {
 public:
  /// `comm`: the tensor-parallel ranks of this stage, which must outlive this; null: one rank.
  TensorParallel(Communicator* comm, std::int64_t rows);

  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] std::int64_t rows() const { return rows_; }              // T
  [[nodiscard]] std::int64_t block_rows() const { return block_rows_; }  // S
  [[nodiscard]] std::int64_t full_rows() const { return block_rows_ * ranks_; }
  /// Rows of this rank's block that are not padding.
  [[nodiscard]] std::int64_t own_rows() const { return own_rows_; }
  /// This rank's block of a full buffer.
  [[nodiscard]] float* own(float* full, std::int64_t width) const {
    return full + rank_ * block_rows_ * width;
  }

  /// In place: every block of `full` comes from its rank.
  void gather(float* full, std::int64_t width) const;
  /// In place: own(full) becomes the sum over ranks of that block; the others are overwritten.
  void reduce_scatter(float* full, std::int64_t width) const;
  void all_reduce(std::span<float> values) const;

 private:
  Communicator* comm_;
  int ranks_;
  int rank_;
  std::int64_t rows_;
  std::int64_t block_rows_;
  std::int64_t own_rows_;
};

}  // namespace tessera::runtime
