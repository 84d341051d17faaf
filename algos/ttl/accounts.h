/// The accounts of one asset: what an operation does to them, with no file, no lock, no clock of its own.
///
/// A state machine: the same operations in the same order give the same state. Ledger (ledger.h) adds the
/// lock and the log; recovery (ledger_log.h) feeds it the log again.
///
/// Clock     one for all accounts, the latest reading of any operation. max_step applies to it, so an account
///           may rest as long as it likes. Each account settles when it is touched.
/// Memory    measured after compact(): 144 bytes for an account with one record, 297 with ten, at most 936
///           for k = 100. A list that still grows holds room for up to twice its records.
/// Totals    credited = spent + expired + live, always; 128-bit: sums over accounts and time pass 2^64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "algos/ttl/balance.h"

namespace tessera::ttl {

enum class AccountId : std::uint64_t {};

struct Operation {
  enum class Kind : std::uint8_t { kCredit = 1, kSpend = 2, kTransfer = 3, kResume = 4 };
  Kind kind;
  Ticks now;
  AccountId account{};  // not for kResume
  AccountId to{};       // kTransfer alone
  Amount amount = 0;    // not for kResume
  bool operator==(const Operation&) const = default;
};

__extension__ using WideAmount = unsigned __int128;

struct Totals {
  WideAmount credited = 0;
  WideAmount spent = 0;
  WideAmount expired = 0;
  WideAmount live = 0;
  bool operator==(const Totals&) const = default;
};

class Accounts {
 public:
  /// Requires start >= 0.
  Accounts(const Policy& policy, Ticks start);
  Accounts(const Accounts&) = delete;  // accounts point to the policy
  Accounts& operator=(const Accounts&) = delete;

  /// kResume passes a true gap of any length, the others obey max_step. An amount of 0 moves the clock alone.
  Outcome apply(const Operation& operation);

  [[nodiscard]] Ticks clock() const { return clock_; }
  [[nodiscard]] const Policy& policy() const { return policy_; }
  [[nodiscard]] Amount balance(AccountId id, Ticks now) const;
  [[nodiscard]] std::optional<NextExpiry> next_expiry(AccountId id, Ticks now) const;
  [[nodiscard]] std::uint32_t records(AccountId id, Ticks now) const;
  [[nodiscard]] std::size_t size() const { return accounts_.size(); }

  /// Brings every account to the clock. O(accounts * k).
  Totals totals();

  /// As totals(); then drops empty accounts and spare memory.
  void compact();

  /// each(AccountId, const CompactBalance&), in no order.
  template <class Each>
  void for_each(Each each) const {
    for (const auto& [id, balance] : accounts_) each(id, balance);
  }

  /// For recovery: what had happened before `start`; restore_account then brings back what is live.
  void restore_totals(const Totals& past) {
    totals_ = past;
    totals_.live = 0;
  }
  /// False unless the id is a new one and the records, as for_each_record gives them, ascend, can be live at
  /// the clock, and have a sum that fits.
  [[nodiscard]] bool restore_account(AccountId id, std::span<const NextExpiry> records);

 private:
  CompactBalance* settled(AccountId id);
  CompactBalance& settled_or_new(AccountId id);
  Outcome credit(AccountId id, Amount amount);
  Outcome spend(AccountId id, Amount amount);
  Outcome transfer(AccountId from, AccountId to, Amount amount);

  Policy policy_;
  Policy free_policy_;  // of the accounts: the step limit is the clock's
  Ticks clock_;
  Totals totals_;
  std::unordered_map<AccountId, CompactBalance> accounts_;
};

}  // namespace tessera::ttl
