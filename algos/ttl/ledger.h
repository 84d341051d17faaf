/// Balances that lapse, for many accounts and many threads, in memory or in a file that survives a crash.
///
///   auto ledger = Ledger::open("quota.ledger", Policy::make(3600, 100).value()).value();
///   Status status = ledger->credit(AccountId{7}, now, 500);      // on the disk when it returns
///
/// Rules     balance.h: how long a deposit lives, earliest expiry first, all or nothing.
/// Clock     one for the ledger, monotone, with max_step (accounts.h); feed it from one monotonic source.
///           resume() passes a gap that max_step would refuse (the program was down for a night).
/// Threads   any call from any thread. Operations take effect one after the other, under one lock, in the
///           order of the log; a balance may already show what another thread still waits for. Threads that
///           wait together share one write (group commit). A call that meets a compaction waits for it.
/// Durable   an operation that returned OK is on the disk: fdatasync of the file, fsync of the directory
///           after each change of name. With sync_each off that holds for what came before the last sync()
///           that returned OK. An operation that was not acknowledged is there whole or not at all. The
///           clock that comes back is that of the last operation that was done.
/// Disk      full: room is reserved before an operation takes effect, so it is refused (kResourceExhausted),
///           changes nothing, and may be repeated. Any other failure to write or sync stops the ledger:
///           that operation and every later one return the same error, and reading shows memory, not the
///           disk. Open the file again.
/// Log       replaced by a snapshot (compaction) above `compact_above` bytes and four times the last
///           snapshot; a compaction that fails leaves the log in use.
/// Errors    refused operations as to_status (outcome.h): kFailedPrecondition for a balance too small, else
///           kInvalidArgument; disk errors as above. After std::bad_alloc memory and log may differ: drop the
///           ledger and open the file again.
/// Cost      O(k) and one hash look-up under the lock; then one write and one fdatasync per group.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "algos/base/status.h"
#include "algos/ttl/accounts.h"
#include "algos/ttl/log_file.h"

namespace tessera::ttl {

struct LedgerOptions {
  Ticks start = 0;        // first clock reading of a ledger that is not there yet
  bool sync_each = true;  // off: operations return before they are on the disk; call sync()
  std::uint64_t compact_above = std::uint64_t{1} << 24;
};

class Ledger {
 public:
  /// Requires start >= 0.
  static std::unique_ptr<Ledger> in_memory(const Policy& policy, Ticks start = 0);

  /// Opens the ledger at `path`, or makes it. Holds `path`.lock until destruction; a `path`.part that a crash
  /// left is removed.
  /// Errors    kInvalidArgument for another ttl or buckets than the file's, which are fixed when it is made;
  ///           kUnavailable while another Ledger has it open; kDataLoss (ledger_log.h); disk errors.
  static Result<std::unique_ptr<Ledger>> open(const std::string& path, const Policy& policy,
                                              const LedgerOptions& options = {});

  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  /// Syncs what sync_each = false left; call sync() to learn whether that works.
  ~Ledger();

  Status credit(AccountId account, Ticks now, Amount amount);
  Status spend(AccountId account, Ticks now, Amount amount);
  Status transfer(AccountId from, AccountId to, Ticks now, Amount amount);
  Status resume(Ticks now);

  /// Any of the four; for programs that tell refusals apart.
  /// Errors    those of the disk alone.
  Result<Outcome> apply(const Operation& operation);

  /// Live amount at max(now, clock). 0 for an account that is not there.
  [[nodiscard]] Amount balance(AccountId account, Ticks now) const;
  [[nodiscard]] std::optional<NextExpiry> next_expiry(AccountId account, Ticks now) const;
  [[nodiscard]] std::uint32_t records(AccountId account, Ticks now) const;
  [[nodiscard]] Ticks clock() const;
  /// Accounts that take memory; compaction drops those with nothing live.
  [[nodiscard]] std::size_t accounts() const;
  /// At the clock. O(accounts * k).
  [[nodiscard]] Totals totals() const;

  /// Everything done so far is on the disk. Nothing to do in memory.
  Status sync();
  /// Drops empty accounts and spare memory, replaces the log by a snapshot. O(accounts * k); others wait.
  Status compact();

 private:
  Ledger(const Policy& policy, Ticks start);
  Ledger(std::unique_ptr<Accounts> accounts, FileLock lock, LogFile log, std::uint64_t snapshot_bytes,
         const std::string& path, const LedgerOptions& options);
  [[nodiscard]] std::uint64_t compaction_point(std::uint64_t snapshot_bytes) const {
    return std::max(options_.compact_above, 4 * snapshot_bytes);
  }
  Status commit(std::unique_lock<std::mutex>& lock, std::uint64_t operation);
  Status compact(std::unique_lock<std::mutex>& lock);

  const std::string path_;
  const LedgerOptions options_;
  const std::optional<FileLock> file_lock_;

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable committed_;
  std::unique_ptr<Accounts> accounts_;
  std::optional<LogFile> log_;  // none in memory; append() runs outside the lock, by whoever set committing_
  std::string pending_;         // operations that took effect and were not handed to the disk
  std::uint64_t claimed_ = 0;   // bytes of the file, with the frame being written
  std::uint64_t done_ = 0;      // operations that took effect
  std::uint64_t durable_ = 0;   // of these, on the disk
  std::uint64_t compact_at_ = 0;  // bytes of the file
  bool committing_ = false;
  Status failure_;  // not OK: the ledger has stopped
};

}  // namespace tessera::ttl
