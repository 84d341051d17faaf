// The ledger as its users meet it: what comes back after closing, what is refused and how it is said.
#include "algos/ttl/ledger.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace tessera::ttl {
namespace {

using test::TemporaryFolder;

using ::testing::HasSubstr;

constexpr AccountId kAlice{1};
constexpr AccountId kBob{2};

class TtlLedger : public ::testing::Test {
 protected:
  std::unique_ptr<Ledger> open(const LedgerOptions& options = {}) {
    auto ledger = Ledger::open(path, policy, options);
    EXPECT_TRUE(ledger.ok()) << ledger.status().message();
    return std::move(ledger).value();
  }

  TemporaryFolder folder;
  std::string path = folder.file("quota.ledger");
  Policy policy = Policy::make(100, 10).value();
};

TEST_F(TtlLedger, InMemory) {
  const auto ledger = Ledger::in_memory(policy, 5);
  EXPECT_TRUE(ledger->credit(kAlice, 5, 10).ok());
  EXPECT_TRUE(ledger->transfer(kAlice, kBob, 6, 4).ok());
  EXPECT_TRUE(ledger->spend(kBob, 7, 1).ok());
  EXPECT_EQ(ledger->balance(kAlice, 7), 6U);
  EXPECT_EQ(ledger->next_expiry(kBob, 7), (NextExpiry{110, 3}));
  EXPECT_EQ(ledger->records(kBob, 7), 1U);
  EXPECT_EQ(ledger->balance(kAlice, 110), 0U);
  EXPECT_TRUE(ledger->sync().ok());
  EXPECT_TRUE(ledger->resume(200).ok());
  EXPECT_EQ(ledger->accounts(), 2U);
  EXPECT_TRUE(ledger->compact().ok());
  EXPECT_EQ(ledger->accounts(), 0U);
}

TEST_F(TtlLedger, EverythingComesBack) {
  {
    const auto ledger = open({.start = 5});
    EXPECT_TRUE(ledger->credit(kAlice, 5, 10).ok());
    EXPECT_TRUE(ledger->credit(kAlice, 25, 10).ok());
    EXPECT_TRUE(ledger->transfer(kAlice, kBob, 26, 12).ok());
    EXPECT_TRUE(ledger->spend(kBob, 27, 1).ok());
  }
  const auto ledger = open();
  EXPECT_EQ(ledger->clock(), 27);
  EXPECT_EQ(ledger->balance(kAlice, 27), 8U);
  EXPECT_EQ(ledger->next_expiry(kAlice, 27), (NextExpiry{130, 8}));
  EXPECT_EQ(ledger->next_expiry(kBob, 27), (NextExpiry{110, 9}));
  EXPECT_EQ(ledger->balance(kBob, 110), 2U);
  EXPECT_TRUE(ledger->totals() == (Totals{20, 1, 0, 19}));
}

TEST_F(TtlLedger, ACompactionChangesNothingButTheFile) {
  {
    const auto ledger = open();
    for (Ticks t = 0; t < 150; ++t)
      EXPECT_TRUE(ledger->credit(AccountId{static_cast<std::uint64_t>(t % 3)}, t, 1).ok());
    const auto long_log = std::filesystem::file_size(path);
    const Totals totals = ledger->totals();
    ASSERT_TRUE(ledger->compact().ok());
    EXPECT_LT(std::filesystem::file_size(path), long_log / 5);
    EXPECT_TRUE(ledger->totals() == totals);
    EXPECT_TRUE(ledger->credit(kBob, 150, 7).ok());
  }
  const auto ledger = open();
  EXPECT_TRUE(ledger->totals().credited == 157);
  EXPECT_TRUE(ledger->totals().live + ledger->totals().expired == 157);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST_F(TtlLedger, TheLogIsCompactedByItself) {
  {
    const auto ledger = open({.compact_above = 3000});
    for (Ticks t = 0; t < 300; ++t) ASSERT_TRUE(ledger->credit(kAlice, t, 1).ok());
  }
  EXPECT_LT(std::filesystem::file_size(path), 4000U);
  EXPECT_TRUE(open()->totals().credited == 300);
}

TEST_F(TtlLedger, OftenReopenedTheLogStaysShortToo) {
  for (Ticks t = 0; t < 60; ++t) {
    const auto ledger = open({.compact_above = 1000});
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(ledger->credit(kAlice, t, 1).ok());
  }
  EXPECT_LT(std::filesystem::file_size(path), 2000U);
}

TEST_F(TtlLedger, WithoutSyncEachTheEndOfTheLedgerSyncs) {
  {
    const auto ledger = open({.sync_each = false});
    for (Ticks t = 0; t < 100'000; ++t) ASSERT_TRUE(ledger->credit(kAlice, t / 1000, 1).ok());
    ASSERT_TRUE(ledger->sync().ok());
    ASSERT_TRUE(ledger->credit(kAlice, 100, 1).ok());
  }
  EXPECT_TRUE(open()->totals().credited == 100'001);
}

TEST_F(TtlLedger, APolicyIsFixed) {
  (void)open()->credit(kAlice, 0, 1);
  const Status status = Ledger::open(path, Policy::make(100, 20).value()).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("ttl 100, 10 buckets, as the ledger was made"));
  EXPECT_TRUE(Ledger::open(path, policy.with_max_step(7)).ok()) << "the step limit is not part of the file";
}

TEST_F(TtlLedger, TheStepLimitGuardsTheClock) {
  policy = policy.with_max_step(50);
  const auto ledger = open({.start = 1000});
  EXPECT_TRUE(ledger->credit(kAlice, 1000, 1).ok());
  const Status status = ledger->credit(kAlice, 1051, 1);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("max_step"));
  EXPECT_EQ(ledger->clock(), 1000);
  EXPECT_TRUE(ledger->resume(1051).ok());
  EXPECT_TRUE(ledger->credit(kAlice, 1051, 1).ok());
  EXPECT_EQ(ledger->balance(kAlice, 1051), 2U);
}

TEST_F(TtlLedger, OneLedgerPerFile) {
  const auto ledger = open();
  const Status status = Ledger::open(path, policy).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("open already"));
}

TEST_F(TtlLedger, RefusalsSayWhat) {
  const auto ledger = Ledger::in_memory(policy);
  EXPECT_TRUE(ledger->credit(kAlice, 0, 5).ok());
  const Status spend = ledger->spend(kAlice, 0, 6);
  EXPECT_EQ(spend.code(), Code::kFailedPrecondition);
  EXPECT_THAT(spend.message(), HasSubstr("account 1"));
  EXPECT_THAT(spend.message(), HasSubstr("below the amount"));
  EXPECT_EQ(ledger->transfer(kAlice, kAlice, 0, 6).code(), Code::kFailedPrecondition);
  EXPECT_EQ(ledger->credit(kAlice, 0, ~Amount{0}).code(), Code::kInvalidArgument);
  EXPECT_EQ(ledger->credit(kAlice, -1, 1).code(), Code::kInvalidArgument);
  EXPECT_EQ(ledger->credit(kAlice, std::numeric_limits<Ticks>::max(), 1).code(), Code::kInvalidArgument);
}

TEST_F(TtlLedger, PlacesThatCannotBe) {
  EXPECT_EQ(Ledger::open("/no/such/folder/x", policy).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Ledger::open(path, policy, {.start = -1}).status().code(), Code::kInvalidArgument);
  std::filesystem::create_directory(path);
  EXPECT_FALSE(Ledger::open(path, policy).ok());
  std::filesystem::remove(path);
  std::ofstream(path) << "something else";
  const Status status = Ledger::open(path, policy).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("no ledger file"));
  EXPECT_EQ(std::filesystem::file_size(path), 14U) << "a foreign file is left alone";
}

TEST_F(TtlLedger, ATornEndIsCutOffAndWritingGoesOn) {
  (void)open()->credit(kAlice, 0, 1);
  std::ofstream(path, std::ios::app) << "FRAM torn by a crash";
  (void)open()->credit(kAlice, 1, 2);
  EXPECT_EQ(open()->balance(kAlice, 1), 3U);
}

TEST_F(TtlLedger, AnAbandonedSnapshotIsRemoved) {
  (void)open()->credit(kAlice, 0, 1);
  std::ofstream(path + ".part") << "half a snapshot";
  EXPECT_EQ(open()->balance(kAlice, 1), 1U);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

}  // namespace
}  // namespace tessera::ttl
