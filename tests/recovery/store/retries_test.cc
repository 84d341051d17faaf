#include "recovery/store/retries.h"

#include <chrono>
#include <set>

#include <gtest/gtest.h>

namespace tessera::recovery {
namespace {

using std::chrono::milliseconds;

TEST(Retries, WaitsAreBelowACeilingThatDoubles) {
  const ManualClock clock;
  const RetryPolicy policy{9, milliseconds(100), milliseconds(1000), std::chrono::seconds(1000)};
  const std::vector<milliseconds> ceilings = {milliseconds(100),  milliseconds(200),  milliseconds(400),
                                              milliseconds(800),  milliseconds(1000), milliseconds(1000),
                                              milliseconds(1000), milliseconds(1000)};
  std::vector<double> sums(ceilings.size());
  constexpr int kRequests = 2000;
  for (int request = 0; request < kRequests; ++request) {
    Retries retries(policy, clock, static_cast<std::uint64_t>(request));
    for (std::size_t i = 0; i < ceilings.size(); ++i) {
      const auto wait = retries.next();
      ASSERT_TRUE(wait.has_value());
      EXPECT_GE(*wait, Nanoseconds(0));
      EXPECT_LT(*wait, ceilings[i]);
      sums[i] += tessera::seconds(*wait) / tessera::seconds(Nanoseconds(ceilings[i]));
    }
    EXPECT_FALSE(retries.next().has_value());
    EXPECT_EQ(retries.failures(), 9);
  }
  // Uniform: the mean of n draws is 1/2 with deviation sqrt(1/12/n) = 0.0065; six of them never happen.
  for (const double sum : sums) EXPECT_NEAR(sum / kRequests, 0.5, 0.04);
}

TEST(Retries, RequestsDoNotComeBackTogether) {
  const ManualClock clock;
  std::set<std::int64_t> waits;
  for (std::uint64_t seed = 0; seed < 100; ++seed) waits.insert(Retries({}, clock, seed).next()->count());
  EXPECT_EQ(waits.size(), 100U);
}

TEST(Retries, TheServerMayAskForMore) {
  const ManualClock clock;
  Retries retries({}, clock, 1);
  EXPECT_EQ(retries.next(std::chrono::seconds(15)), std::chrono::seconds(15));
}

TEST(Retries, NoneBeginsAfterTheTotal) {
  ManualClock clock;
  const RetryPolicy policy{100, milliseconds(1), milliseconds(1), std::chrono::seconds(10)};
  Retries retries(policy, clock, 1);
  clock.advance(milliseconds(9990));
  EXPECT_TRUE(retries.next().has_value());
  EXPECT_FALSE(retries.next(milliseconds(11)).has_value());
  clock.advance(milliseconds(20));
  EXPECT_FALSE(retries.next().has_value());
}

TEST(Retries, OneTryIsNoRetry) {
  const ManualClock clock;
  RetryPolicy policy;
  policy.tries = 1;
  EXPECT_FALSE(Retries(policy, clock, 1).next().has_value());
}

}  // namespace
}  // namespace tessera::recovery
