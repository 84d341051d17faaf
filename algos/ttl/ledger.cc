#include "algos/ttl/ledger.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "algos/base/mapped_file.h"
#include "algos/ttl/ledger_log.h"

namespace tessera::ttl {
namespace {

constexpr std::size_t kPendingLimit = std::size_t{1} << 20;

std::string name_of(AccountId account) {
  return fmt::format("account {}", static_cast<std::uint64_t>(account));
}

}  // namespace

Ledger::Ledger(const Policy& policy, Ticks start) : accounts_(std::make_unique<Accounts>(policy, start)) {}

Ledger::Ledger(std::unique_ptr<Accounts> accounts, FileLock lock, LogFile log, std::uint64_t snapshot_bytes,
               const std::string& path, const LedgerOptions& options)
    : path_(path),
      options_(options),
      file_lock_(std::move(lock)),
      accounts_(std::move(accounts)),
      log_(std::move(log)),
      claimed_(log_->size()),
      compact_at_(compaction_point(snapshot_bytes)) {}

std::unique_ptr<Ledger> Ledger::in_memory(const Policy& policy, Ticks start) {
  return std::unique_ptr<Ledger>(new Ledger(policy, start));
}

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& path, const Policy& policy,
                                             const LedgerOptions& options) {
  if (options.start < 0) {
    return bad_input(
        {path, "start", std::to_string(options.start), "ticks that count from 0", "shift the clock's start"});
  }
  FileLock lock = TS_TRY(FileLock::take(path));
  std::error_code ignored;
  std::filesystem::remove(path + ".part", ignored);
  const auto ledger = [&](std::unique_ptr<Accounts> accounts, LogFile log, std::uint64_t snapshot_bytes) {
    return std::unique_ptr<Ledger>(
        new Ledger(std::move(accounts), std::move(lock), std::move(log), snapshot_bytes, path, options));
  };
  if (!std::filesystem::exists(path, ignored)) {
    auto accounts = std::make_unique<Accounts>(policy, options.start);
    bool changed = false;
    LogFile log = TS_TRY(LogFile::replace(path, *accounts, changed));
    const std::uint64_t bytes = log.size();
    return ledger(std::move(accounts), std::move(log), bytes);
  }
  Recovered recovered;
  {
    const MappedFile file =
        TS_TRY(MappedFile::open(path, "a ledger file", "name a ledger, or a path that is free"));
    recovered = TS_TRY(recover(file.bytes(), path, policy.max_step()));
  }
  const Policy& found = recovered.accounts->policy();
  if (!found.same_grid(policy)) {
    return bad_input({path, "policy", fmt::format("ttl {}, {} buckets", policy.ttl(), policy.buckets()),
                      fmt::format("ttl {}, {} buckets, as the ledger was made", found.ttl(), found.buckets()),
                      "a policy is fixed: make a new ledger for another one"});
  }
  LogFile log = TS_TRY(LogFile::open(path, recovered.bytes, recovered.next_sequence));
  return ledger(std::move(recovered.accounts), std::move(log), recovered.snapshot_bytes);
}

Ledger::~Ledger() { (void)sync(); }

Status Ledger::credit(AccountId account, Ticks now, Amount amount) {
  const Outcome outcome = TS_TRY(apply({Operation::Kind::kCredit, now, account, {}, amount}));
  return outcome == Outcome::kDone ? Status() : to_status(outcome, name_of(account));
}

Status Ledger::spend(AccountId account, Ticks now, Amount amount) {
  const Outcome outcome = TS_TRY(apply({Operation::Kind::kSpend, now, account, {}, amount}));
  return outcome == Outcome::kDone ? Status() : to_status(outcome, name_of(account));
}

Status Ledger::transfer(AccountId from, AccountId to, Ticks now, Amount amount) {
  const Outcome outcome = TS_TRY(apply({Operation::Kind::kTransfer, now, from, to, amount}));
  return outcome == Outcome::kDone ? Status() : to_status(outcome, name_of(from));
}

Status Ledger::resume(Ticks now) {
  const Outcome outcome = TS_TRY(apply({Operation::Kind::kResume, now, {}, {}, 0}));
  return outcome == Outcome::kDone ? Status() : to_status(outcome, "resume");
}

Result<Outcome> Ledger::apply(const Operation& operation) {
  std::unique_lock lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (log_) TS_TRY(log_->reserve(claimed_ + frame_bytes(pending_.size() + kMaxOperationBytes)));
  const Outcome outcome = accounts_->apply(operation);
  if (outcome != Outcome::kDone || !log_) return outcome;
  Operation logged = operation;
  logged.now = accounts_->clock();
  append_operation(pending_, logged);
  ++done_;
  if (options_.sync_each || pending_.size() > kPendingLimit) TS_TRY(commit(lock, done_));
  return outcome;
}

/// The first thread to come writes for all that are there; those that come meanwhile are the next group.
Status Ledger::commit(std::unique_lock<std::mutex>& lock, std::uint64_t operation) {
  while (durable_ < operation) {
    if (!failure_.ok()) return failure_;
    if (committing_) {
      committed_.wait(lock);
      continue;
    }
    committing_ = true;
    const std::string group = std::exchange(pending_, {});
    const std::uint64_t reached = done_;
    claimed_ += frame_bytes(group.size());
    lock.unlock();
    Status written = log_->append(group);
    lock.lock();
    committing_ = false;
    if (written.ok()) {
      durable_ = reached;
    } else {
      failure_ = std::move(written);
    }
    committed_.notify_all();
  }
  // Acknowledged whatever becomes of the compaction: without it the log just stays long.
  if (claimed_ >= compact_at_ && !committing_) (void)compact(lock);
  return {};
}

Amount Ledger::balance(AccountId account, Ticks now) const {
  const std::scoped_lock lock(mutex_);
  return accounts_->balance(account, now);
}

std::optional<NextExpiry> Ledger::next_expiry(AccountId account, Ticks now) const {
  const std::scoped_lock lock(mutex_);
  return accounts_->next_expiry(account, now);
}

std::uint32_t Ledger::records(AccountId account, Ticks now) const {
  const std::scoped_lock lock(mutex_);
  return accounts_->records(account, now);
}

Ticks Ledger::clock() const {
  const std::scoped_lock lock(mutex_);
  return accounts_->clock();
}

std::size_t Ledger::accounts() const {
  const std::scoped_lock lock(mutex_);
  return accounts_->size();
}

Totals Ledger::totals() const {
  const std::scoped_lock lock(mutex_);
  return accounts_->totals();
}

Status Ledger::sync() {
  std::unique_lock lock(mutex_);
  if (!failure_.ok()) return failure_;
  return log_ ? commit(lock, done_) : Status();
}

Status Ledger::compact() {
  std::unique_lock lock(mutex_);
  return compact(lock);
}

Status Ledger::compact(std::unique_lock<std::mutex>& lock) {
  committed_.wait(lock, [&] { return !committing_; });
  if (!failure_.ok()) return failure_;
  if (!log_) {
    accounts_->compact();
    return {};
  }
  bool changed = false;
  Result<LogFile> file = LogFile::replace(path_, *accounts_, changed);
  if (file.ok()) {
    log_ = std::move(file).value();  // the snapshot holds the pending operations too
    pending_.clear();
    durable_ = done_;
    claimed_ = log_->size();
    compact_at_ = compaction_point(claimed_);
    committed_.notify_all();
    return {};
  }
  if (changed) {
    failure_ = file.status();  // the name may lead to either file after a crash
    committed_.notify_all();
  } else {
    compact_at_ = claimed_ + options_.compact_above;
  }
  return file.status();
}

}  // namespace tessera::ttl
