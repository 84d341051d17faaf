#include "runtime/tools/tensor_stats.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(TensorStats, NonFiniteValuesAreCountedAndLeftOut) {
  const std::vector<float> values = {kInfinity, -2.0F, NAN, 5.0F, -0.0F, -kInfinity, 3.0F};
  const TensorStats stats = tensor_stats(values);
  EXPECT_EQ(stats.min, -2.0F);
  EXPECT_EQ(stats.max, 5.0F);
  EXPECT_EQ(stats.mean, 1.5);  // of four
  EXPECT_EQ(stats.finite, 4);
  EXPECT_EQ(stats.non_finite, 3);
}

TEST(TensorStats, NothingFinite) {
  for (const std::vector<float>& values : {std::vector<float>{}, std::vector<float>{NAN, kInfinity}}) {
    const TensorStats stats = tensor_stats(values);
    EXPECT_EQ(stats.finite, 0);
    EXPECT_EQ(stats.non_finite, static_cast<std::int64_t>(values.size()));
    EXPECT_EQ(stats.mean, 0);
  }
}

TEST(TensorStats, TheMeanOfManyLargeValuesKeepsItsDigits) {
  // A sum in fp32 would stop growing at 2^24 times the smallest term.
  const std::vector<float> values(1 << 20, 1e30F);
  EXPECT_NEAR(tensor_stats(values).mean / 1e30, 1, 1e-7);
}

TEST(TensorStats, TheChecksumIsXxh64OfTheBytes) {
  EXPECT_EQ(tensor_stats({}).xxh64, "ef46db3751d8e999");  // of nothing, seed 0: the specification's value
  // Every bit counts, also those that arithmetic does not see.
  EXPECT_NE(tensor_stats(std::vector<float>{0.0F}).xxh64, tensor_stats(std::vector<float>{-0.0F}).xxh64);
  EXPECT_NE(tensor_stats(std::vector<float>{1, 2}).xxh64, tensor_stats(std::vector<float>{2, 1}).xxh64);
}

}  // namespace
}  // namespace tessera::runtime
