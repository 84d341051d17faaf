// Many accounts under one clock against a row per deposit, and the totals.
#include "algos/ttl/accounts.h"

#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/algos/ttl/balance_reference.h"

namespace tessera::ttl {
namespace {

using Kind = Operation::Kind;

constexpr Amount kMost = std::numeric_limits<Amount>::max();

TEST(TtlAccounts, RandomOperationsEqualARowPerDeposit) {
  std::mt19937_64 random(5);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  for (int round = 0; round < 300; ++round) {
    const Ticks ttl = static_cast<Ticks>(below(40));  // 0, permanent, is among them
    const std::int64_t buckets = 1 + static_cast<std::int64_t>(below(12));
    Accounts accounts(Policy::make(ttl, buckets).value(), 0);
    std::vector<reference::Account> references(6, reference::Account(ttl, buckets, 0));
    Ticks clock = 0;
    for (int step = 0; step < 400; ++step) {
      const Ticks now =
          below(8) == 0 ? static_cast<Ticks>(below(clock + 1)) : clock + static_cast<Ticks>(below(6));
      clock = std::max(clock, now);  // the ledger's clock is everyone's
      const std::size_t i = below(6);
      const std::size_t j = below(6);
      const Amount amount = below(30);
      Operation operation{Kind::kCredit, now, AccountId{i}, AccountId{j}, amount};
      bool expected = true;
      switch (below(5)) {
        case 0:
        case 1: references[i].deposit(clock, amount); break;
        case 2:
          operation.kind = Kind::kSpend;
          expected = references[i].spend(clock, amount);
          break;
        case 3:
          operation.kind = Kind::kTransfer;
          expected = reference::Account::transfer(references[i], references[j], clock, amount);
          break;
        default: operation = {Kind::kResume, now, {}, {}, 0}; break;
      }
      ASSERT_EQ(accounts.apply(operation) == Outcome::kDone, expected);
      ASSERT_EQ(accounts.clock(), clock);
      if (below(50) == 0) accounts.compact();
      Totals totals;
      for (std::size_t a = 0; a < 6; ++a) {
        references[a].see(clock);
        const Ticks later = clock + static_cast<Ticks>(below(60));
        ASSERT_EQ(accounts.balance(AccountId{a}, later), references[a].balance(later));
        ASSERT_EQ(accounts.next_expiry(AccountId{a}, later), references[a].next_expiry(later));
        ASSERT_EQ(accounts.records(AccountId{a}, later), references[a].records(later).size());
        totals.credited += references[a].deposited;
        totals.spent += references[a].spent;
        totals.expired += references[a].expired;
        totals.live += references[a].balance(clock);
      }
      ASSERT_TRUE(accounts.totals() == totals);
      ASSERT_TRUE(totals.credited == totals.spent + totals.expired + totals.live);
    }
  }
}

TEST(TtlAccounts, AnAccountMayRestLongerThanTheStepLimit) {
  Accounts accounts(Policy::make(1000, 10, 5).value(), 100);
  ASSERT_EQ(accounts.apply({Kind::kCredit, 100, AccountId{1}, {}, 3}), Outcome::kDone);
  for (Ticks t = 105; t <= 200; t += 5)
    ASSERT_EQ(accounts.apply({Kind::kCredit, t, AccountId{2}, {}, 1}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kSpend, 200, AccountId{1}, {}, 3}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kSpend, 206, AccountId{2}, {}, 1}), Outcome::kStepTooLong);
  EXPECT_EQ(accounts.apply({Kind::kResume, 206, {}, {}, 0}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kSpend, 206, AccountId{2}, {}, 1}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kResume, -1, {}, {}, 0}), Outcome::kNegativeTime);
  EXPECT_EQ(accounts.clock(), 206);
}

TEST(TtlAccounts, RefusedOperationsMakeNoAccount) {
  const Policy policy = Policy::make(10, 4).value();
  Accounts accounts(policy, 0);
  EXPECT_EQ(accounts.apply({Kind::kSpend, 0, AccountId{1}, {}, 1}), Outcome::kInsufficientBalance);
  EXPECT_EQ(accounts.apply({Kind::kTransfer, 0, AccountId{1}, AccountId{2}, 1}),
            Outcome::kInsufficientBalance);
  EXPECT_EQ(accounts.apply({Kind::kCredit, 0, AccountId{1}, {}, 0}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kCredit, policy.latest_deposit() + 1, AccountId{1}, {}, 1}),
            Outcome::kPastLatestDeposit);
  EXPECT_EQ(accounts.size(), 0U);
}

TEST(TtlAccounts, SumsOverAccountsPass64Bits) {
  Accounts accounts(Policy::make(10, 4).value(), 0);
  for (std::uint64_t id = 0; id < 3; ++id)
    ASSERT_EQ(accounts.apply({Kind::kCredit, 0, AccountId{id}, {}, kMost}), Outcome::kDone);
  EXPECT_TRUE(accounts.totals().live == WideAmount{kMost} * 3);
  EXPECT_EQ(accounts.apply({Kind::kCredit, 0, AccountId{0}, {}, 1}), Outcome::kTooMuch);
  EXPECT_EQ(accounts.apply({Kind::kTransfer, 0, AccountId{0}, AccountId{1}, 1}), Outcome::kTooMuch);
  ASSERT_EQ(accounts.apply({Kind::kResume, 100, {}, {}, 0}), Outcome::kDone);
  EXPECT_TRUE(accounts.totals().expired == WideAmount{kMost} * 3);
  accounts.compact();
  EXPECT_EQ(accounts.size(), 0U) << "nothing live takes no memory";
}

}  // namespace
}  // namespace tessera::ttl
