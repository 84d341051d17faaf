#include "algos/ttl/accounts.h"

#include <algorithm>

namespace tessera::ttl {

Accounts::Accounts(const Policy& policy, Ticks start)
    : policy_(policy), free_policy_(policy.with_max_step(kNoStepLimit)), clock_(start) {
  TS_REQUIRE(start >= 0, start);
}

CompactBalance* Accounts::settled(AccountId id) {
  const auto found = accounts_.find(id);
  if (found == accounts_.end()) return nullptr;
  const Amount lapsed = found->second.settle(clock_).lapsed;
  totals_.expired += lapsed;
  totals_.live -= lapsed;
  return &found->second;
}

CompactBalance& Accounts::settled_or_new(AccountId id) {
  if (CompactBalance* balance = settled(id)) return *balance;
  return accounts_.emplace(id, CompactBalance(free_policy_, clock_)).first->second;
}

Outcome Accounts::apply(const Operation& operation) {
  if (operation.now < 0) return Outcome::kNegativeTime;
  const bool obeys_limit = operation.kind != Operation::Kind::kResume;
  if (obeys_limit && operation.now > clock_ && operation.now - clock_ > policy_.max_step()) {
    return Outcome::kStepTooLong;
  }
  clock_ = std::max(clock_, operation.now);
  if (operation.amount == 0) return Outcome::kDone;
  switch (operation.kind) {
    case Operation::Kind::kCredit: return credit(operation.account, operation.amount);
    case Operation::Kind::kSpend: return spend(operation.account, operation.amount);
    case Operation::Kind::kTransfer: return transfer(operation.account, operation.to, operation.amount);
    case Operation::Kind::kResume: break;
  }
  return Outcome::kDone;
}

Outcome Accounts::credit(AccountId id, Amount amount) {
  if (clock_ > policy_.latest_deposit())
    return Outcome::kPastLatestDeposit;  // before an account is made for it
  const Outcome outcome = settled_or_new(id).deposit(clock_, amount);
  if (outcome == Outcome::kDone) {
    totals_.credited += amount;
    totals_.live += amount;
  }
  return outcome;
}

Outcome Accounts::spend(AccountId id, Amount amount) {
  CompactBalance* const balance = settled(id);
  if (balance == nullptr) return Outcome::kInsufficientBalance;
  const Outcome outcome = balance->spend(clock_, amount);
  if (outcome == Outcome::kDone) {
    totals_.spent += amount;
    totals_.live -= amount;
  }
  return outcome;
}

Outcome Accounts::transfer(AccountId from, AccountId to, Amount amount) {
  const CompactBalance* const source = settled(from);
  if (source == nullptr || source->balance(clock_) < amount) return Outcome::kInsufficientBalance;
  CompactBalance& target = settled_or_new(to);  // references survive an insertion, iterators need not
  return ttl::transfer(*settled(from), target, clock_, amount);
}

Amount Accounts::balance(AccountId id, Ticks now) const {
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? 0 : found->second.balance(std::max(now, clock_));
}

std::optional<NextExpiry> Accounts::next_expiry(AccountId id, Ticks now) const {
  const auto found = accounts_.find(id);
  if (found == accounts_.end()) return std::nullopt;
  return found->second.next_expiry(std::max(now, clock_));
}

std::uint32_t Accounts::records(AccountId id, Ticks now) const {
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? 0 : found->second.records(std::max(now, clock_));
}

Totals Accounts::totals() {
  for (const auto& [id, balance] : accounts_) (void)settled(id);
  return totals_;
}

void Accounts::compact() {
  for (auto it = accounts_.begin(); it != accounts_.end();) {
    CompactBalance& balance = *settled(it->first);
    balance.store().shrink();
    it = balance.balance(clock_) == 0 ? accounts_.erase(it) : std::next(it);
  }
}

bool Accounts::restore_account(AccountId id, std::span<const NextExpiry> records) {
  const auto [place, is_new] = accounts_.try_emplace(id, free_policy_, clock_);
  if (!is_new) return false;
  Ticks previous = 0;
  for (const NextExpiry& record : records) {
    if (record.at <= previous || !place->second.restore(record.at, record.amount)) return false;
    previous = record.at;
    totals_.live += record.amount;
  }
  return true;
}

}  // namespace tessera::ttl
