// SIGKILL at random times, while operations, group commits and compactions are under way, over and over on
// one file.
//
// Three threads of a child apply fixed sequences of operations, each thread to accounts of its own, and count
// in shared memory what was acknowledged. After each kill the parent opens the file: every thread's accounts
// must be as after the acknowledged operations, or one more (the one that was not answered), never less,
// never half of one.
//   TESSERA_TTL_KILLS   rounds, default 60
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <random>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "algos/ttl/ledger.h"
#include "tests/support/temporary_folder.h"

namespace tessera::ttl {
namespace {

using test::TemporaryFolder;

constexpr std::size_t kThreads = 3;

struct Shared {
  std::array<std::atomic<std::uint64_t>, kThreads> acknowledged;
  std::atomic<std::uint64_t> refused;
};

/// Nothing lapses while the test runs: what a thread sees then does not depend on the clocks of the others.
Policy policy() { return Policy::make(Ticks{1} << 40, 100).value(); }

AccountId first_of(std::size_t thread) { return AccountId{10 * thread}; }
AccountId second_of(std::size_t thread) { return AccountId{10 * thread + 1}; }

/// The n-th operation of a thread. Each three of them: 100 + n in, 7 across, 1 out, so that every prefix of
/// the sequence has balances of its own.
Operation operation(std::size_t thread, std::uint64_t n) {
  const Ticks now = static_cast<Ticks>(n);
  switch (n % 3) {
    case 0: return {Operation::Kind::kCredit, now, first_of(thread), {}, 100 + n};
    case 1: return {Operation::Kind::kTransfer, now, first_of(thread), second_of(thread), 7};
    default: return {Operation::Kind::kSpend, now, second_of(thread), {}, 1};
  }
}

struct Balances {
  Amount first = 0;
  Amount second = 0;
  bool operator==(const Balances&) const = default;
};

/// After `count` operations of the sequence.
Balances expected(std::uint64_t count) {
  Balances balances;
  for (std::uint64_t n = 0; n < count; ++n) {
    if (n % 3 == 0) balances.first += 100 + n;
    if (n % 3 == 1) {
      balances.first -= 7;
      balances.second += 7;
    }
    if (n % 3 == 2) balances.second -= 1;
  }
  return balances;
}

[[noreturn]] void work_until_killed(const std::string& path, Shared& shared) {
  // Small enough that compactions are part of every round.
  auto ledger = Ledger::open(path, policy(), {.compact_above = 1000});
  if (!ledger.ok()) ::_exit(3);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t n = shared.acknowledged[t];; ++n) {
        const Result<Outcome> outcome = ledger.value()->apply(operation(t, n));
        if (!outcome.ok() || outcome.value() != Outcome::kDone) {
          ++shared.refused;
          return;
        }
        shared.acknowledged[t] = n + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(4);  // only when every thread was refused
}

TEST(TtlLedgerCrash, NothingAcknowledgedIsLost) {
  const char* const asked = std::getenv("TESSERA_TTL_KILLS");
  const int rounds = asked == nullptr ? 60 : std::atoi(asked);
  ASSERT_GT(rounds, 0);
  const TemporaryFolder folder;
  const std::string path = folder.file("crash.ledger");
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Shared& shared = *new (memory) Shared();
  std::mt19937 random(std::random_device{}());
  std::uint64_t unanswered = 0;
  std::uint64_t compactions = 0;
  for (int round = 0; round < rounds; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) work_until_killed(path, shared);
    // Some kills come before the file is open, some after a hundred operations.
    ::usleep(random() % 60'000);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
    ASSERT_EQ(shared.refused, 0U);
    compactions += ::access((path + ".part").c_str(), F_OK) == 0 ? 1 : 0;

    const auto ledger = Ledger::open(path, policy());
    ASSERT_TRUE(ledger.ok()) << ledger.status().message();
    for (std::size_t t = 0; t < kThreads; ++t) {
      const std::uint64_t acknowledged = shared.acknowledged[t];
      const Ticks now = ledger.value()->clock();
      const Balances found{ledger.value()->balance(first_of(t), now),
                           ledger.value()->balance(second_of(t), now)};
      if (found == expected(acknowledged + 1)) {
        shared.acknowledged[t] = acknowledged + 1;
        ++unanswered;
      } else {
        ASSERT_EQ(found, expected(acknowledged))
            << "round " << round << " thread " << t << ": " << found.first << " " << found.second << " after "
            << acknowledged << " operations";
      }
    }
    const Totals totals = ledger.value()->totals();
    ASSERT_TRUE(totals.credited == totals.spent + totals.live);
  }
  std::uint64_t kept = 0;
  for (const auto& count : shared.acknowledged) kept += count;
  EXPECT_GT(kept - unanswered, static_cast<std::uint64_t>(rounds) / 4)
      << "the kills must hit a ledger at work";
  RecordProperty("kills", rounds);
  RecordProperty("acknowledged", std::to_string(kept - unanswered));
  RecordProperty("kept_though_unanswered", std::to_string(unanswered));
  RecordProperty("killed_inside_a_compaction", std::to_string(compactions));
  ::munmap(memory, sizeof(Shared));
}

}  // namespace
}  // namespace tessera::ttl
