#include "runtime/parallel/tensor_parallel.h"

#include <algorithm>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {

TensorParallel::TensorParallel(Communicator* comm, std::int64_t rows)
    : comm_(comm),
      ranks_(comm == nullptr ? 1 : comm->size()),
      rank_(comm == nullptr ? 0 : comm->rank().value),
      rows_(rows),
      block_rows_((rows + ranks_ - 1) / ranks_),
      own_rows_(std::clamp<std::int64_t>(rows - rank_ * block_rows_, 0, block_rows_)) {
  TS_REQUIRE(rows >= 0, rows);
}

void TensorParallel::gather(float* full, std::int64_t width) const {
  if (ranks_ == 1) return;
  all_gather(*comm_, {full, static_cast<std::size_t>(full_rows() * width)}, Traffic::kTensor);
}

void TensorParallel::reduce_scatter(float* full, std::int64_t width) const {
  if (ranks_ == 1) return;
  reduce_scatter_sum(*comm_, {full, static_cast<std::size_t>(full_rows() * width)}, Traffic::kTensor);
}

void TensorParallel::all_reduce(std::span<float> values) const {
  if (ranks_ == 1) return;
  all_reduce_sum(*comm_, values, Traffic::kTensor);
}

}  // namespace tessera::runtime
