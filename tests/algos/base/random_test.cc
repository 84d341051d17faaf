#include "algos/base/random.h"

#include <set>

#include <gtest/gtest.h>

namespace tessera {
namespace {

// The first outputs of splitmix64 from state 0, published with the reference implementation: mix64 of
// k * increment is output k + 1.
TEST(Random, MixIsSplitmix64) {
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ULL), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(mix64(2 * 0x9e3779b97f4a7c15ULL), 0x06c45d188009454fULL);
}

// Means of N draws lie within 5 standard errors with probability 1 - 6e-7.
TEST(Random, UniformAndNormalHaveTheirMoments) {
  constexpr int kDraws = 200000;
  double u_sum = 0, z_sum = 0, z_square = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = uniform(42, static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    u_sum += u;
    const double z = normal(43, static_cast<std::uint64_t>(i));
    z_sum += z;
    z_square += z * z;
  }
  const double root = std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(u_sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12) / root);
  EXPECT_NEAR(z_sum / kDraws, 0.0, 5 / root);
  EXPECT_NEAR(z_square / kDraws, 1.0, 5 * std::sqrt(2.0) / root);
}

TEST(Random, StreamsDiffer) {
  std::set<std::uint64_t> keys;
  for (std::uint64_t stream = 0; stream < 1000; ++stream) keys.insert(derive_key(7, stream));
  EXPECT_EQ(keys.size(), 1000U);
}

}  // namespace
}  // namespace tessera
