// The grid: life, count, and the slot a deposit goes to, against the definition.
#include "algos/ttl/policy.h"

#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "tests/algos/ttl/balance_reference.h"

namespace tessera::ttl {
namespace {

constexpr Ticks kLast = std::numeric_limits<Ticks>::max();

TEST(TtlPolicy, WorkedExample) {
  const Policy policy = Policy::make(10, 4).value();
  EXPECT_EQ(policy.width(), 3);
  EXPECT_EQ(policy.expiry(5), 15);
  EXPECT_EQ(policy.expiry(6), 18);
}

TEST(TtlPolicy, LifeIsAtLeastTheTtlAndLessThanOneCellMore) {
  for (Ticks ttl = 1; ttl <= 60; ++ttl) {
    for (std::int64_t k = 1; k <= 20; ++k) {
      const Policy policy = Policy::make(ttl, k).value();
      const Ticks w = policy.width();
      for (Ticks t = 0; t <= 3 * ttl; ++t) {
        const Ticks life = policy.expiry(t) - t;
        ASSERT_EQ(policy.expiry(t), reference::expiry(ttl, k, t));
        ASSERT_GE(life, ttl);
        ASSERT_LE(life, ttl + w - 1);
        // Dead at exactly t + T only when that is a grid point.
        ASSERT_EQ(life == ttl, (t + ttl) % w == 0);
        // The division-free slot is the same grid point.
        const Ticks cell = t / w * w;
        ASSERT_EQ(cell + (policy.slot_of_deposit(t - cell) + Ticks{1}) * w, policy.expiry(t));
      }
    }
  }
}

/// The grid points that carry something live when there was a deposit at every tick, at its largest over
/// time: the bound k + 1 is kept for all T, k here, and slots() is not one too many.
TEST(TtlPolicy, SlotsIsTheMostThatIsEverLive) {
  for (Ticks ttl = 1; ttl <= 250; ++ttl) {
    for (const std::int64_t k : {1, 2, 3, 5, 7, 12, 100, 120, 199}) {
      const Policy policy = Policy::make(ttl, k).value();
      std::size_t most = 0;
      const Ticks from = 4 * ttl;  // all that lapsed before came and went
      for (Ticks now = from; now < from + policy.width(); ++now) {
        std::set<Ticks> live;
        for (Ticks t = now - ttl - policy.width(); t <= now; ++t) {
          if (policy.expiry(t) > now) live.insert(policy.expiry(t));
        }
        most = std::max(most, live.size());
      }
      ASSERT_EQ(most, policy.slots()) << "T " << ttl << " k " << k;
      ASSERT_LE(policy.slots(), k + 1) << "T " << ttl << " k " << k;
    }
  }
}

TEST(TtlPolicy, PermanentIsOneSlot) {
  const Policy policy = Policy::make(0, 100).value();
  EXPECT_TRUE(policy.permanent());
  EXPECT_EQ(policy.slots(), 1U);
  EXPECT_EQ(policy.slot_of_deposit(0), 0U);
  EXPECT_EQ(policy.slot_of_deposit(policy.latest_deposit()), 0U);
}

TEST(TtlPolicy, LimitsAreRefusedByName) {
  const auto message = [](Ticks ttl, std::int64_t k, Ticks step) {
    return Policy::make(ttl, k, step).status().message();
  };
  EXPECT_NE(message(-1, 4, 1).find("ttl"), std::string::npos);
  EXPECT_NE(message(Policy::kMaxTtl + 1, 4, 1).find("ttl"), std::string::npos);
  EXPECT_NE(message(10, 0, 1).find("buckets"), std::string::npos);
  EXPECT_NE(message(10, -3, 1).find("buckets"), std::string::npos);
  EXPECT_NE(message(10, Policy::kMaxBuckets + 1, 1).find("buckets"), std::string::npos);
  EXPECT_NE(message(10, 4, 0).find("max_step"), std::string::npos);
}

TEST(TtlPolicy, LargestValuesStayInRange) {
  for (const std::int64_t k : {std::int64_t{1}, std::int64_t{3}, Policy::kMaxBuckets}) {
    const Policy policy = Policy::make(Policy::kMaxTtl, k).value();
    EXPECT_LE(policy.slots(), k + 1);
    EXPECT_GT(policy.latest_deposit(), 0);
    const Ticks last = policy.expiry(policy.latest_deposit());
    EXPECT_EQ(last, reference::expiry(Policy::kMaxTtl, k, policy.latest_deposit()));
    EXPECT_LE(last, kLast);
  }
}

}  // namespace
}  // namespace tessera::ttl
