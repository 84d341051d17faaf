// What the ledger asks of the system, and what it does when the system refuses.
//
// The calls of the C library that write, sync, reserve and rename are replaced in this program: they keep a
// worst-case disk, which holds of a file what its last sync held, and of a directory the names of its last
// sync; and they fail when told to.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algos/ttl/ledger.h"
#include "tests/algos/ttl/ledger_state.h"
#include "tests/support/temporary_folder.h"

namespace {

struct System {
  std::mutex mutex;
  std::map<ino_t, std::string> synced_files;
  std::map<std::string, ino_t> synced_names;
  bool recording = false;
  // errno of the next call, and of all that follow; 0: they work
  std::atomic<int> fallocate_error{0};
  std::atomic<int> pwrite_error{0};
  std::atomic<int> write_error{0};
  std::atomic<int> rename_error{0};
  std::atomic<int> file_sync_error{0};
  std::atomic<int> directory_sync_error{0};
  std::atomic<bool> short_writes{false};
  std::atomic<int> interruptions{0};
  std::atomic<int> file_syncs{0};
  std::atomic<int> sync_us{0};
};

System& machine() {
  static System instance;
  return instance;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int synced(int descriptor, long call) {
  System& system = machine();
  struct stat info {};
  ::fstat(descriptor, &info);
  const bool directory = S_ISDIR(info.st_mode);
  const int error = directory ? system.directory_sync_error : system.file_sync_error;
  if (error != 0) {
    errno = error;
    return -1;
  }
  if (!directory) ++system.file_syncs;
  if (system.sync_us > 0) ::usleep(static_cast<unsigned>(system.sync_us));
  const std::scoped_lock lock(system.mutex);
  if (system.recording) {
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
    if (directory) {
      system.synced_names.clear();
      for (const auto& entry : std::filesystem::directory_iterator(path)) {
        struct stat named {};
        if (::stat(entry.path().c_str(), &named) == 0)
          system.synced_names[entry.path().filename()] = named.st_ino;
      }
    } else {
      system.synced_files[info.st_ino] = contents(path);
    }
    return 0;  // this disk is the one that counts
  }
  return static_cast<int>(::syscall(call, descriptor));
}

/// -1 with errno when told to fail.
bool fails(const std::atomic<int>& error) {
  if (error == 0) return false;
  errno = error;
  return true;
}

}  // namespace

extern "C" int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
extern "C" int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }
extern "C" int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  if (machine().interruptions > 0) {
    --machine().interruptions;
    errno = EINTR;
    return -1;
  }
  if (fails(machine().fallocate_error)) return -1;
  return static_cast<int>(::syscall(SYS_fallocate, descriptor, mode, offset, size));
}
extern "C" ssize_t pwrite(int descriptor, const void* bytes, std::size_t size, off_t offset) {
  if (machine().interruptions > 0) {
    --machine().interruptions;
    errno = EINTR;
    return -1;
  }
  if (machine().pwrite_error != 0 && size > 9)
    size = 9;  // a part gets through first
  else if (fails(machine().pwrite_error))
    return -1;
  if (machine().short_writes && size > 5) size = 5;
  const ssize_t written = ::syscall(SYS_pwrite64, descriptor, bytes, size, offset);
  return written;
}
extern "C" ssize_t write(int descriptor, const void* bytes, std::size_t size) {
  if (descriptor > 2 && fails(machine().write_error)) return -1;
  return ::syscall(SYS_write, descriptor, bytes, size);
}
extern "C" int rename(const char* from, const char* to) {
  if (fails(machine().rename_error)) return -1;
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

namespace tessera::ttl {
namespace {

using test::TemporaryFolder;

using ::testing::HasSubstr;

constexpr AccountId kAlice{1};

class TtlLedgerFaults : public ::testing::Test {
 protected:
  ~TtlLedgerFaults() override { mend(); }

  static void mend() {
    System& system = machine();
    for (auto* const error :
         {&system.fallocate_error, &system.pwrite_error, &system.write_error, &system.rename_error,
          &system.file_sync_error, &system.directory_sync_error, &system.interruptions, &system.sync_us}) {
      *error = 0;
    }
    system.short_writes = false;
    const std::scoped_lock lock(system.mutex);
    system.recording = false;
    system.synced_files.clear();
    system.synced_names.clear();
  }

  std::unique_ptr<Ledger> open(const LedgerOptions& options = {}) {
    auto ledger = Ledger::open(path, policy, options);
    EXPECT_TRUE(ledger.ok()) << ledger.status().message();
    return std::move(ledger).value();
  }

  /// What a machine that lost its power now would find under the ledger's name.
  std::string on_disk() {
    System& system = machine();
    const std::scoped_lock lock(system.mutex);
    const auto name = system.synced_names.find("fault.ledger");
    EXPECT_NE(name, system.synced_names.end()) << "the directory was never synced";
    if (name == system.synced_names.end()) return "";
    return system.synced_files[name->second];
  }

  TemporaryFolder folder;
  std::string path = folder.file("fault.ledger");
  Policy policy = Policy::make(100, 10).value();
};

TEST_F(TtlLedgerFaults, WhatIsAcknowledgedIsSyncedWithTheNamesThatLeadToIt) {
  machine().recording = true;
  const auto ledger = open({.compact_above = 1500});
  Accounts expected(policy, 0);
  for (Ticks t = 0; t < 400; ++t) {
    const Operation operation{
        Operation::Kind::kCredit, t, AccountId{static_cast<std::uint64_t>(t % 4)}, {}, 2};
    ASSERT_EQ(ledger->apply(operation).value(), Outcome::kDone);
    ASSERT_EQ(expected.apply(operation), Outcome::kDone);
    const Result<LedgerState> found = state_in(on_disk());
    ASSERT_TRUE(found.ok()) << "after operation " << t << ": " << found.status().message();
    ASSERT_EQ(found.value(), state_of(expected)) << t;
  }
}

TEST_F(TtlLedgerFaults, AFullDiskRefusesAndChangesNothing) {
  {
    const auto ledger = open();
    machine().fallocate_error = ENOSPC;
    for (int i = 0; i < 3; ++i) {
      const Status status = ledger->credit(kAlice, 7, 5);
      EXPECT_EQ(status.code(), Code::kResourceExhausted);
      EXPECT_THAT(status.message(), HasSubstr(path));
    }
    EXPECT_EQ(ledger->balance(kAlice, 0), 0U);
    EXPECT_EQ(ledger->clock(), 0);
    machine().fallocate_error = 0;
    EXPECT_TRUE(ledger->credit(kAlice, 7, 5).ok()) << "with room again the same ledger goes on";
  }
  EXPECT_EQ(open()->balance(kAlice, 7), 5U);
}

TEST_F(TtlLedgerFaults, ARealLimitOnTheFileIsAFullDisk) {
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::uint64_t credited = 0;
  {
    const auto ledger = open({.sync_each = false, .compact_above = 1U << 30});
    rlimit limit = old_limit;
    limit.rlim_cur = 600'000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    Status status;
    while ((status = ledger->credit(kAlice, 0, 1)).ok()) ASSERT_LT(++credited, 100'000U);
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    EXPECT_TRUE(ledger->sync().ok()) << "what was accepted still gets to the disk";
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
    std::signal(SIGXFSZ, old_action);
    EXPECT_TRUE(ledger->credit(kAlice, 0, 1).ok());
    ++credited;
  }
  EXPECT_GT(credited, 10'000U);
  EXPECT_EQ(open()->balance(kAlice, 0), credited);
}

TEST_F(TtlLedgerFaults, AFileSystemWithoutReservationsWorks) {
  {
    const auto ledger = open();
    machine().fallocate_error = EOPNOTSUPP;
    EXPECT_TRUE(ledger->credit(kAlice, 0, 5).ok());
    EXPECT_TRUE(ledger->credit(kAlice, 1, 5).ok());
  }
  EXPECT_EQ(open()->balance(kAlice, 1), 10U);
}

TEST_F(TtlLedgerFaults, InterruptedAndShortWritesAreFinished) {
  {
    const auto ledger = open();
    machine().short_writes = true;
    machine().interruptions = 3;
    EXPECT_TRUE(ledger->credit(kAlice, 0, 5).ok());
    machine().interruptions = 2;
    EXPECT_TRUE(ledger->credit(kAlice, 1, 5).ok());
  }
  EXPECT_EQ(open()->balance(kAlice, 1), 10U);
}

/// After a failed write or sync nobody knows what the disk holds: the ledger must stop, and what it
/// acknowledged must come back.
TEST_F(TtlLedgerFaults, AFailedWriteOrSyncStopsTheLedger) {
  for (std::atomic<int>* const error : {&machine().pwrite_error, &machine().file_sync_error}) {
    std::filesystem::remove(path);
    {
      const auto ledger = open();
      ASSERT_TRUE(ledger->credit(kAlice, 0, 5).ok());
      *error = EIO;
      EXPECT_EQ(ledger->credit(kAlice, 1, 6).code(), Code::kIoError);
      *error = 0;
      EXPECT_EQ(ledger->credit(kAlice, 2, 7).code(), Code::kIoError) << "it does not recover by itself";
      EXPECT_EQ(ledger->sync().code(), Code::kIoError);
      EXPECT_EQ(ledger->compact().code(), Code::kIoError);
    }
    const auto ledger = open();
    const Amount found = ledger->balance(kAlice, 2);
    EXPECT_TRUE(found == 5 || found == 11) << found << ": the unanswered operation whole or not at all";
    EXPECT_TRUE(ledger->credit(kAlice, 3, 1).ok());
  }
}

TEST_F(TtlLedgerFaults, WaitingThreadsHearOfTheFailure) {
  const auto ledger = open();
  ASSERT_TRUE(ledger->credit(kAlice, 0, 5).ok());
  machine().sync_us = 2000;
  machine().file_sync_error = EIO;
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] { refused += ledger->credit(kAlice, 1, 1).code() == Code::kIoError ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 6);
}

TEST_F(TtlLedgerFaults, ACompactionThatFailsLeavesTheLogInUse) {
  const auto ledger = open();
  ASSERT_TRUE(ledger->credit(kAlice, 0, 5).ok());
  for (std::atomic<int>* const error :
       {&machine().write_error, &machine().rename_error, &machine().file_sync_error}) {
    *error = ENOSPC;
    EXPECT_EQ(ledger->compact().code(), Code::kResourceExhausted);
    *error = 0;
    EXPECT_FALSE(std::filesystem::exists(path + ".part"));
    EXPECT_TRUE(ledger->credit(kAlice, 1, 1).ok());
  }
  EXPECT_TRUE(ledger->compact().ok());
  EXPECT_EQ(state_in(contents(path)).value().accounts[1], (std::map<Ticks, Amount>{{100, 5}, {110, 3}}));
}

TEST_F(TtlLedgerFaults, ACompactionByItselfThatFailsIsNotTheOperationsFault) {
  const auto ledger = open({.compact_above = 500});
  machine().rename_error = ENOSPC;
  for (Ticks t = 0; t < 40; ++t) ASSERT_TRUE(ledger->credit(kAlice, t, 1).ok());
  machine().rename_error = 0;
  for (Ticks t = 40; t < 60; ++t) ASSERT_TRUE(ledger->credit(kAlice, t, 1).ok());
  EXPECT_EQ(ledger->balance(kAlice, 60), 60U);
  EXPECT_EQ(state_in(contents(path)).value().totals.credited == 60, true);
}

TEST_F(TtlLedgerFaults, AnUnsyncedDirectoryStopsTheLedger) {
  const auto ledger = open();
  ASSERT_TRUE(ledger->credit(kAlice, 0, 5).ok());
  machine().directory_sync_error = EIO;
  EXPECT_EQ(ledger->compact().code(), Code::kIoError);
  machine().directory_sync_error = 0;
  EXPECT_EQ(ledger->credit(kAlice, 1, 1).code(), Code::kIoError);
  EXPECT_EQ(ledger->balance(kAlice, 1), 5U);
}

TEST_F(TtlLedgerFaults, ThreadsThatWaitTogetherShareOneSync) {
  const auto ledger = open();
  machine().sync_us = 2000;
  const int before = machine().file_syncs;
  constexpr int kThreads = 8;
  constexpr int kEach = 40;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i)
        ASSERT_TRUE(ledger->credit(AccountId{static_cast<std::uint64_t>(t)}, i, 1).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  // 7 of 8 threads wait while one syncs; half of that is allowed for a busy machine.
  EXPECT_LT(machine().file_syncs - before, kThreads * kEach / 3);
}

}  // namespace
}  // namespace tessera::ttl
