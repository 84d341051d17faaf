#include "runtime/parallel/tensor_parallel.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/comm/local_comm.h"

namespace tessera::runtime {
namespace {

TEST(TensorParallel, OneRankOwnsEverythingAndMovesNothing) {
  const TensorParallel alone(nullptr, 7);
  EXPECT_EQ(alone.ranks(), 1);
  EXPECT_EQ(alone.own_rows(), 7);
  EXPECT_EQ(alone.full_rows(), 7);
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7};
  const std::vector<float> before = x;
  EXPECT_EQ(alone.own(x.data(), 1), x.data());
  alone.gather(x.data(), 1);
  alone.reduce_scatter(x.data(), 1);
  alone.all_reduce(x);
  EXPECT_EQ(x, before);
}

TEST(TensorParallel, RowsAreThoseOfTheHeadersExample) {
  run_local_ranks(2, [](Communicator& comm) {
    const TensorParallel tensor(&comm, 5);
    EXPECT_EQ(tensor.block_rows(), 3);
    EXPECT_EQ(tensor.full_rows(), 6);
    EXPECT_EQ(tensor.own_rows(), comm.rank().value == 0 ? 3 : 2);
  });
}

/// Every row has one owner, whatever the numbers; gather brings the owners' rows in order; reduce_scatter
/// leaves the sum over ranks of the own rows; both send (t-1) blocks. Small integers: sums are exact in any
/// order.
TEST(TensorParallel, GathersAndReducesRaggedRows) {
  constexpr std::int64_t kWidth = 3;
  for (const int ranks : {2, 3, 4, 7}) {
    for (const std::int64_t rows : {0, 1, 3, 6, 7, 12, 13}) {
      run_local_ranks(ranks, [&](Communicator& comm) {
        const TensorParallel tensor(&comm, rows);
        const auto floats = static_cast<std::size_t>(tensor.full_rows() * kWidth);
        const auto value = [](int rank, std::int64_t row, std::int64_t d) {
          return static_cast<float>(100 * rank + 10 * row + d);
        };
        const std::int64_t first = comm.rank().value * tensor.block_rows();

        std::vector<float> gathered(floats, -1);
        for (std::int64_t t = first; t < first + tensor.own_rows(); ++t) {
          for (std::int64_t d = 0; d < kWidth; ++d) {
            tensor.own(gathered.data(), kWidth)[(t - first) * kWidth + d] = value(0, t, d);
          }
        }
        comm.traffic().reset();
        tensor.gather(gathered.data(), kWidth);
        const std::int64_t block_bytes = 4 * tensor.block_rows() * kWidth;
        EXPECT_EQ(comm.traffic().by_kind(Traffic::kTensor).bytes_sent, (ranks - 1) * block_bytes);
        for (std::int64_t t = 0; t < rows; ++t) {
          for (std::int64_t d = 0; d < kWidth; ++d) {
            ASSERT_EQ(gathered[static_cast<std::size_t>(t * kWidth + d)], value(0, t, d)) << rows << " rows";
          }
        }

        std::vector<float> partial(floats, 0);
        for (std::int64_t t = 0; t < rows; ++t) {
          for (std::int64_t d = 0; d < kWidth; ++d) {
            partial[static_cast<std::size_t>(t * kWidth + d)] = value(comm.rank().value, t, d);
          }
        }
        comm.traffic().reset();
        tensor.reduce_scatter(partial.data(), kWidth);
        EXPECT_EQ(comm.traffic().by_kind(Traffic::kTensor).bytes_sent, (ranks - 1) * block_bytes);
        for (std::int64_t t = first; t < first + tensor.own_rows(); ++t) {
          for (std::int64_t d = 0; d < kWidth; ++d) {
            float sum = 0;
            for (int r = 0; r < ranks; ++r) sum += value(r, t, d);
            ASSERT_EQ(tensor.own(partial.data(), kWidth)[(t - first) * kWidth + d], sum) << rows << " rows";
          }
        }
      });
    }
  }
}

}  // namespace
}  // namespace tessera::runtime
