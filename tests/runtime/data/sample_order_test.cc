// SampleOrder: each epoch reads every window once; the order is a pure function of seed and number.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/data/token_source.h"

namespace tessera::runtime {
namespace {

SampleOrder order_of(std::int64_t begin, std::int64_t windows, std::int64_t length, std::uint64_t seed) {
  return SampleOrder::make(begin, begin + windows * length + 1, length, seed).value();
}

TEST(SampleOrder, EveryEpochIsAPermutationOfTheWindows) {
  for (const std::int64_t windows : {1, 2, 3, 4, 5, 7, 16, 17, 1000, 4097}) {
    const SampleOrder order = order_of(11, windows, 3, 42);
    ASSERT_EQ(order.windows(), windows);
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::set<std::int64_t> seen;
      for (std::int64_t i = 0; i < windows; ++i) {
        const std::int64_t token = order.first_token(epoch * windows + i);
        ASSERT_EQ((token - 11) % 3, 0);
        ASSERT_GE(token, 11);
        ASSERT_LT(token, 11 + 3 * windows);
        seen.insert(token);
      }
      EXPECT_EQ(static_cast<std::int64_t>(seen.size()), windows);
    }
  }
}

TEST(SampleOrder, EpochsAndSeedsDiffer) {
  const SampleOrder one = order_of(0, 1000, 1, 1);
  const SampleOrder two = order_of(0, 1000, 1, 2);
  int same_seed = 0;
  int same_epoch = 0;
  int fixed = 0;
  for (std::int64_t i = 0; i < 1000; ++i) {
    same_seed += one.first_token(i) == two.first_token(i) ? 1 : 0;
    same_epoch += one.first_token(i) == one.first_token(1000 + i) ? 1 : 0;
    fixed += one.first_token(i) == i ? 1 : 0;
  }
  // Random permutations agree in 1 place on average (Poisson): 10 or more has probability 1e-7.
  EXPECT_LT(same_seed, 10);
  EXPECT_LT(same_epoch, 10);
  EXPECT_LT(fixed, 10);
}

TEST(SampleOrder, NeedsOneWindowAndItsLastLabel) {
  EXPECT_TRUE(SampleOrder::make(0, 9, 8, 0).ok());
  const auto short_by_one = SampleOrder::make(0, 8, 8, 0);
  ASSERT_FALSE(short_by_one.ok());
  EXPECT_EQ(short_by_one.status().code(), Code::kInvalidArgument);
  for (const char* part : {"8 tokens", "at least 9", "sequence_length"}) {
    EXPECT_NE(short_by_one.status().message().find(part), std::string::npos) << part;
  }
  // The remainder that fills no window is left out.
  EXPECT_EQ(SampleOrder::make(0, 24, 8, 0)->windows(), 2);
  EXPECT_EQ(SampleOrder::make(0, 25, 8, 0)->windows(), 3);
}

}  // namespace
}  // namespace tessera::runtime
