// Many threads on one ledger: nothing is lost or made, whatever the order. Meant for the thread sanitizer as
// well.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "algos/ttl/ledger.h"
#include "tests/support/temporary_folder.h"

namespace tessera::ttl {
namespace {

using test::TemporaryFolder;

constexpr int kThreads = 8;
constexpr std::uint64_t kAccounts = 5;  // few: threads meet

struct Sums {
  std::atomic<Amount> credited{0};
  std::atomic<Amount> spent{0};
};

/// Every kind of call, on accounts that all threads share; the clock runs unevenly, and lapses happen.
void work(Ledger& ledger, int thread, int operations, Sums& sums) {
  const std::uint64_t key = derive_key(1, static_cast<std::uint64_t>(thread));
  for (int i = 0; i < operations; ++i) {
    const std::uint64_t draw = mix64(key ^ mix64(static_cast<std::uint64_t>(i)));
    const AccountId from{draw % kAccounts};
    const AccountId to{draw / 8 % kAccounts};
    const Amount amount = 1 + draw / 64 % 9;
    const Ticks now = i + static_cast<Ticks>(draw / 1024 % 5);
    switch (draw >> 61) {
      case 0:
      case 1:
      case 2:
        ASSERT_TRUE(ledger.credit(from, now, amount).ok());
        sums.credited += amount;
        break;
      case 3:
        if (ledger.spend(from, now, amount).ok()) sums.spent += amount;
        break;
      case 4: (void)ledger.transfer(from, to, now, amount); break;
      case 5: (void)ledger.balance(from, now); break;
      case 6: (void)ledger.next_expiry(to, now); break;
      default:
        if (i % 16 == 0) {
          ASSERT_TRUE(ledger.compact().ok());
        }
        (void)ledger.totals();
        break;
    }
  }
}

void run(Ledger& ledger, int operations, Sums& sums) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { work(ledger, t, operations, sums); });
  for (std::thread& thread : threads) thread.join();
}

void check(const Ledger& ledger, const Sums& sums) {
  const Totals totals = ledger.totals();
  EXPECT_TRUE(totals.credited == sums.credited.load());
  EXPECT_TRUE(totals.spent == sums.spent.load());
  EXPECT_TRUE(totals.credited == totals.spent + totals.expired + totals.live);
  WideAmount live = 0;
  for (std::uint64_t id = 0; id < kAccounts; ++id) {
    live += ledger.balance(AccountId{id}, 0);
    EXPECT_LE(ledger.records(AccountId{id}, 0), 11U);
  }
  EXPECT_TRUE(live == totals.live);
}

TEST(TtlLedgerThreads, InMemory) {
  const auto ledger = Ledger::in_memory(Policy::make(100, 10).value());
  Sums sums;
  run(*ledger, 5000, sums);
  check(*ledger, sums);
  EXPECT_TRUE(ledger->totals().expired > 0);
}

TEST(TtlLedgerThreads, OnDiskTheLogAndMemoryAgree) {
  const TemporaryFolder folder;
  const std::string path = folder.file("threads.ledger");
  const Policy policy = Policy::make(20, 10).value();
  Sums sums;
  Totals totals;
  std::vector<Amount> balances;
  Ticks clock = 0;
  {
    const auto ledger = Ledger::open(path, policy, {.compact_above = 4000}).value();
    run(*ledger, 60, sums);
    check(*ledger, sums);
    totals = ledger->totals();
    clock = ledger->clock();
    for (std::uint64_t id = 0; id < kAccounts; ++id)
      balances.push_back(ledger->balance(AccountId{id}, clock));
  }
  const auto ledger = Ledger::open(path, policy).value();
  // A refused operation moves the clock and is not logged: bring both to one time.
  EXPECT_LE(ledger->clock(), clock);
  ASSERT_TRUE(ledger->resume(clock).ok());
  EXPECT_TRUE(ledger->totals() == totals);
  for (std::uint64_t id = 0; id < kAccounts; ++id)
    EXPECT_EQ(ledger->balance(AccountId{id}, clock), balances[id]);
}

TEST(TtlLedgerThreads, WithoutSyncEachOneThreadSyncsForAll) {
  const TemporaryFolder folder;
  const std::string path = folder.file("threads.ledger");
  const Policy policy = Policy::make(100, 10).value();
  Sums sums;
  {
    const auto ledger = Ledger::open(path, policy, {.sync_each = false}).value();
    std::atomic<bool> stop{false};
    std::thread syncer([&] {
      while (!stop) ASSERT_TRUE(ledger->sync().ok());
    });
    run(*ledger, 500, sums);
    stop = true;
    syncer.join();
    ASSERT_TRUE(ledger->sync().ok());
  }
  check(*Ledger::open(path, policy).value(), sums);
}

}  // namespace
}  // namespace tessera::ttl
