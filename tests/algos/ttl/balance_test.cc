// One account: against a reference with a row per deposit, and its edges.
#include "algos/ttl/balance.h"

#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/algos/ttl/balance_reference.h"

namespace tessera::ttl {
namespace {

constexpr Ticks kLast = std::numeric_limits<Ticks>::max();
constexpr Amount kMost = std::numeric_limits<Amount>::max();

template <class Account>
class TtlBalance : public ::testing::Test {};

struct StoreNames {
  template <class Account>
  static std::string GetName(int) {
    return std::is_same_v<Account, RingBalance> ? "Ring" : "Compact";
  }
};
using Stores = ::testing::Types<RingBalance, CompactBalance>;
TYPED_TEST_SUITE(TtlBalance, Stores, StoreNames);

/// Three accounts under one policy, each beside its reference.
template <class Account>
class Trial {
 public:
  Trial(Ticks ttl, std::int64_t buckets, std::uint64_t seed)
      : policy_(Policy::make(ttl, buckets).value()), random_(seed) {
    for (int i = 0; i < 3; ++i) {
      accounts_.emplace_back(policy_, 0);
      references_.emplace_back(ttl, buckets, 0);
    }
  }

  void step() {
    const Ticks now = reading();
    const std::size_t i = below(3);
    const Amount amount = below(50);
    switch (below(8)) {
      case 0:
      case 1:
      case 2:
      case 3:
        ASSERT_EQ(accounts_[i].deposit(now, amount), Outcome::kDone);
        references_[i].deposit(now, amount);
        break;
      case 4:
        ASSERT_EQ(accounts_[i].spend(now, amount) == Outcome::kDone, references_[i].spend(now, amount));
        break;
      case 5: {
        const Amount all = references_[i].balance(now);
        ASSERT_EQ(accounts_[i].spend(now, all), Outcome::kDone);
        ASSERT_TRUE(references_[i].spend(now, all));
        break;
      }
      case 6: {
        const std::size_t j = below(3);  // itself, too
        ASSERT_EQ(transfer(accounts_[i], accounts_[j], now, amount) == Outcome::kDone,
                  reference::Account::transfer(references_[i], references_[j], now, amount));
        break;
      }
      default: {
        const Amount before = references_[i].expired;
        references_[i].see(now);
        const Settled settled = accounts_[i].settle(now);
        ASSERT_EQ(settled.outcome, Outcome::kDone);
        // Settled by earlier calls as well: what lapses here is at most what the reference sees lapse.
        ASSERT_EQ(settled.lapsed, references_[i].expired - before);
        break;
      }
    }
    for (std::size_t a = 0; a < 3; ++a) compare(a);
    conserve();
  }

  std::uint64_t states = 0;
  std::uint64_t full = 0;  // states with k + 1 records

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  /// Mostly small steps, some long jumps, some readings that come late.
  Ticks reading() {
    const Ticks span = policy_.ttl() + policy_.width();
    switch (below(10)) {
      case 0: return std::max<Ticks>(0, clock_ - static_cast<Ticks>(below(span)));
      case 1: clock_ += static_cast<Ticks>(below(3 * span)); break;
      default: clock_ += static_cast<Ticks>(below(policy_.width() + 1)); break;
    }
    return clock_;
  }

  void compare(std::size_t a) {
    const Account& account = accounts_[a];
    const reference::Account& expected = references_[a];
    const Ticks now = expected.seen();
    const Ticks later = now + static_cast<Ticks>(below(policy_.ttl() + 2 * policy_.width()));
    ASSERT_EQ(account.latest_reading(), now);
    ASSERT_EQ(account.balance(now), expected.balance(now));
    ASSERT_EQ(account.balance(later), expected.balance(later));
    ASSERT_EQ(account.balance(0), expected.balance(now));  // an early reading is the latest one
    ASSERT_EQ(account.next_expiry(now), expected.next_expiry(now));
    ASSERT_EQ(account.next_expiry(later), expected.next_expiry(later));
    std::map<Ticks, Amount> records;
    account.for_each_record(now, [&](Ticks expiry, Amount amount) { records[expiry] = amount; });
    ASSERT_EQ(records, expected.records(now));
    ASSERT_EQ(account.records(now), records.size());
    ASSERT_LE(records.size(), static_cast<std::size_t>(policy_.buckets() + 1));
    full += records.size() == static_cast<std::size_t>(policy_.buckets() + 1) ? 1 : 0;
    for (const reference::Row& row : expected.rows()) {
      ASSERT_GE(row.expiry - row.deposited, policy_.ttl());
      ASSERT_LE(row.expiry - row.deposited, policy_.ttl() + policy_.width() - 1);
    }
    ++states;
  }

  void conserve() {
    Amount deposited = 0;
    Amount gone = 0;
    Amount live = 0;
    for (std::size_t a = 0; a < 3; ++a) {
      deposited += references_[a].deposited;
      gone += references_[a].spent + references_[a].expired;
      live += accounts_[a].balance(0);
    }
    ASSERT_EQ(deposited, gone + live);
  }

  Policy policy_;
  std::mt19937_64 random_;
  Ticks clock_ = 0;
  std::vector<Account> accounts_;
  std::vector<reference::Account> references_;
};

TYPED_TEST(TtlBalance, TwoMillionStatesEqualARowPerDeposit) {
  std::uint64_t states = 0;
  std::uint64_t full = 0;
  for (Ticks ttl = 1; ttl <= 40; ++ttl) {
    for (std::int64_t buckets = 1; buckets <= 12; ++buckets) {
      Trial<TypeParam> trial(ttl, buckets, static_cast<std::uint64_t>(ttl * 100 + buckets));
      while (trial.states < 4200) {
        trial.step();
        if (this->HasFatalFailure()) FAIL() << "T " << ttl << " k " << buckets << " state " << trial.states;
      }
      states += trial.states;
      full += trial.full;
    }
  }
  EXPECT_GE(states, 2'000'000U);
  EXPECT_GT(full, 1000U) << "k + 1 records must be reached for the bound to mean something";
  this->RecordProperty("states", std::to_string(states));
  this->RecordProperty("states_with_k_plus_1_records", std::to_string(full));
}

TYPED_TEST(TtlBalance, DeadExactlyAtItsExpiry) {
  const Policy policy = Policy::make(10, 4).value();  // width 3
  TypeParam account(policy, 0);
  ASSERT_EQ(account.deposit(5, 7), Outcome::kDone);  // 5 + 10 = 15 is a grid point
  EXPECT_EQ(account.balance(14), 7U);
  EXPECT_EQ(account.balance(15), 0U);
  EXPECT_EQ(account.next_expiry(14), (NextExpiry{15, 7}));
  EXPECT_EQ(account.next_expiry(15), std::nullopt);
  EXPECT_EQ(account.spend(15, 1), Outcome::kInsufficientBalance);
}

TYPED_TEST(TtlBalance, EarliestExpiryIsSpentFirst) {
  const Policy policy = Policy::make(10, 10).value();
  TypeParam account(policy, 0);
  ASSERT_EQ(account.deposit(0, 5), Outcome::kDone);
  ASSERT_EQ(account.deposit(3, 5), Outcome::kDone);
  ASSERT_EQ(account.spend(4, 6), Outcome::kDone);
  EXPECT_EQ(account.balance(10), 4U) << "what was left is of the deposit at 3";
  EXPECT_EQ(account.balance(13), 0U);
}

TYPED_TEST(TtlBalance, ATransferKeepsTheExpiry) {
  const Policy policy = Policy::make(10, 10).value();
  TypeParam from(policy, 0);
  TypeParam to(policy, 0);
  ASSERT_EQ(from.deposit(0, 5), Outcome::kDone);
  ASSERT_EQ(transfer(from, to, 9, 5), Outcome::kDone);
  EXPECT_EQ(to.next_expiry(9), (NextExpiry{10, 5}));
  EXPECT_EQ(to.balance(10), 0U);
}

TYPED_TEST(TtlBalance, ATransferToItselfNeedsTheBalance) {
  const Policy policy = Policy::make(10, 4).value();
  TypeParam account(policy, 0);
  ASSERT_EQ(account.deposit(0, 5), Outcome::kDone);
  EXPECT_EQ(transfer(account, account, 1, 6), Outcome::kInsufficientBalance);
  EXPECT_EQ(transfer(account, account, 1, 5), Outcome::kDone);
  EXPECT_EQ(account.balance(1), 5U);
}

TYPED_TEST(TtlBalance, SumsThatDoNotFitAreRefused) {
  const Policy policy = Policy::make(10, 4).value();
  TypeParam a(policy, 0);
  TypeParam b(policy, 0);
  ASSERT_EQ(a.deposit(0, kMost), Outcome::kDone);
  EXPECT_EQ(a.deposit(0, 1), Outcome::kTooMuch);
  EXPECT_EQ(a.deposit(7, 1), Outcome::kTooMuch);  // in another slot as well
  ASSERT_EQ(b.deposit(7, 1), Outcome::kDone);
  EXPECT_EQ(transfer(a, b, 7, kMost), Outcome::kTooMuch);
  EXPECT_EQ(a.balance(7), kMost);
  EXPECT_EQ(b.balance(7), 1U);
  EXPECT_EQ(transfer(a, b, 7, kMost - 1), Outcome::kDone);
  EXPECT_EQ(b.balance(7), kMost);
  ASSERT_EQ(b.deposit(1000, kMost), Outcome::kDone) << "what lapsed makes room";
}

TYPED_TEST(TtlBalance, TimesAtTheEndOfTheClock) {
  const Policy policy = Policy::make(1000, 7).value();
  TypeParam account(policy, policy.latest_deposit() - 1);
  EXPECT_EQ(account.deposit(policy.latest_deposit(), 3), Outcome::kDone);
  EXPECT_EQ(account.deposit(policy.latest_deposit() + 1, 3), Outcome::kPastLatestDeposit);
  const Ticks expiry = policy.expiry(policy.latest_deposit());
  EXPECT_EQ(account.next_expiry(0), (NextExpiry{expiry, 3}));
  EXPECT_EQ(account.balance(expiry - 1), 3U);
  EXPECT_EQ(account.balance(expiry), 0U);
  EXPECT_EQ(account.balance(kLast), 0U);
  EXPECT_EQ(account.spend(kLast, 1), Outcome::kInsufficientBalance);
}

TYPED_TEST(TtlBalance, PermanentAmountsNeverLapse) {
  const Policy policy = Policy::make(0, 5).value();
  TypeParam account(policy, 0);
  ASSERT_EQ(account.deposit(0, 3), Outcome::kDone);
  ASSERT_EQ(account.deposit(kLast - 1, 4), Outcome::kDone);
  EXPECT_EQ(account.balance(kLast), 7U);
  EXPECT_EQ(account.records(kLast), 1U);
  EXPECT_EQ(account.next_expiry(5), std::nullopt);
  EXPECT_EQ(account.spend(kLast, 7), Outcome::kDone);
  EXPECT_EQ(account.deposit(kLast, 1), Outcome::kPastLatestDeposit);
}

TYPED_TEST(TtlBalance, ClocksThatAreWrong) {
  const Policy policy = Policy::make(10, 4, 5).value();
  TypeParam account(policy, 100);
  ASSERT_EQ(account.deposit(100, 3), Outcome::kDone);
  EXPECT_EQ(account.deposit(-1, 3), Outcome::kNegativeTime);
  EXPECT_EQ(account.spend(-1, 0), Outcome::kNegativeTime);
  EXPECT_EQ(account.settle(-1).outcome, Outcome::kNegativeTime);
  EXPECT_EQ(account.deposit(106, 3), Outcome::kStepTooLong);
  EXPECT_EQ(account.latest_reading(), 100) << "a refused reading is forgotten";
  EXPECT_EQ(account.deposit(105, 3), Outcome::kDone);
  EXPECT_EQ(account.spend(20, 1), Outcome::kDone) << "an early reading is the latest one";
  EXPECT_EQ(account.latest_reading(), 105);
  TypeParam idle(policy, 90);
  EXPECT_EQ(transfer(account, idle, 105, 1), Outcome::kStepTooLong);
  EXPECT_EQ(transfer(account, idle, -1, 1), Outcome::kNegativeTime);
  EXPECT_EQ(account.balance(105), 5U);
  EXPECT_EQ(idle.resume(105).outcome, Outcome::kDone) << "a gap that is passed knowingly";
  EXPECT_EQ(transfer(account, idle, 105, 1), Outcome::kDone);
  EXPECT_EQ(account.resume(1'000'000).lapsed, 4U);
}

TYPED_TEST(TtlBalance, AMillionDustDepositsLeaveKPlus1Records) {
  const Policy policy = Policy::make(1'000'000, 100).value();
  TypeParam victim(policy, 0);
  TypeParam attacker(policy, 0);
  ASSERT_EQ(attacker.deposit(0, 2'000'000), Outcome::kDone);
  for (Ticks t = 0; t < 1'000'000; ++t) {
    ASSERT_EQ(attacker.deposit(t, 2), Outcome::kDone);
    ASSERT_EQ(transfer(attacker, victim, t, 1), Outcome::kDone);
    ASSERT_EQ(victim.deposit(t, 1), Outcome::kDone);
  }
  EXPECT_EQ(victim.records(999'999), policy.slots());
  EXPECT_EQ(policy.slots(), 101U);
  int steps = 0;
  victim.store().take(victim.balance(999'999), [&](std::uint32_t, Amount) { ++steps; });
  EXPECT_LE(steps, 101);
}

TYPED_TEST(TtlBalance, RestoreTakesOnlyWhatCanBe) {
  const Policy policy = Policy::make(10, 4).value();  // width 3
  TypeParam account(policy, 5);                       // live: 6, 9, 12, 15
  EXPECT_FALSE(account.restore(15, 0));
  EXPECT_FALSE(account.restore(3, 1));
  EXPECT_FALSE(account.restore(-3, 1));
  EXPECT_FALSE(account.restore(7, 1));
  EXPECT_FALSE(account.restore(18, 1)) << "nothing deposited up to 5 lapses later than 15";
  EXPECT_FALSE(account.restore(kLast, 1));
  EXPECT_TRUE(account.restore(15, 2));
  EXPECT_FALSE(account.restore(12, kMost - 1));
  EXPECT_TRUE(account.restore(6, 1));
  EXPECT_EQ(account.next_expiry(5), (NextExpiry{6, 1}));
  EXPECT_EQ(account.balance(6), 2U);
}

TEST(TtlTransfer, BetweenTheTwoStores) {
  const Policy policy = Policy::make(12, 6).value();
  RingBalance ring(policy, 0);
  CompactBalance compact(policy, 0);
  for (Ticks t = 0; t < 12; t += 2) ASSERT_EQ(ring.deposit(t, 1), Outcome::kDone);
  ASSERT_EQ(transfer(ring, compact, 11, 4), Outcome::kDone);
  ASSERT_EQ(transfer(compact, ring, 11, 1), Outcome::kDone);
  EXPECT_EQ(compact.next_expiry(11), (NextExpiry{14, 1}));
  EXPECT_EQ(ring.next_expiry(11), (NextExpiry{12, 1}));
}

TEST(TtlCompactStore, TakesTheSmallerForm) {
  const Policy policy = Policy::make(100, 100).value();
  CompactBalance account(policy, 0);
  for (Ticks t = 0; t < 50; ++t) ASSERT_EQ(account.deposit(t, 1), Outcome::kDone);
  EXPECT_FALSE(account.store().is_ring());
  ASSERT_EQ(account.deposit(50, 1), Outcome::kDone);
  EXPECT_TRUE(account.store().is_ring());
  account.store().shrink();
  EXPECT_TRUE(account.store().is_ring()) << "51 records of 100";
  ASSERT_EQ(account.spend(50, 10), Outcome::kDone);
  account.store().shrink();
  EXPECT_FALSE(account.store().is_ring());
  EXPECT_EQ(account.balance(50), 41U);
  EXPECT_EQ(account.next_expiry(50), (NextExpiry{110, 1}));
}

TEST(TtlBalanceDeathTest, TwoGridsDoNotMix) {
  const Policy one = Policy::make(10, 4).value();
  const Policy other = Policy::make(10, 5).value();
  RingBalance a(one, 0);
  RingBalance b(other, 0);
  EXPECT_DEATH((void)transfer(a, b, 0, 0), "same_grid");
}

}  // namespace
}  // namespace tessera::ttl
