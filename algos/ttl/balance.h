/// One account whose amounts lapse: deposit, spend, transfer, balance, next expiry, each O(k) at worst.
///
///   Policy policy = Policy::make(3600, 100).value();
///   RingBalance account(policy, now);
///   account.deposit(now, 500);  account.spend(now + 60, 20);  account.balance(now + 3600);
///
/// The rules (arXiv:2512.20962): an amount lapses at policy.expiry(time of deposit); equal expiries are one
/// record; spending takes the earliest expiry first, all or nothing; a transfer keeps each part's expiry. So
///   life          T <= expiry - deposit time <= T + w - 1
///   count         at most policy.slots() <= k + 1 records, whatever was deposited or received
///   conservation  deposited = spent + lapsed + live, summed over accounts that transfer to each other
///
/// Clock     one reading per call, from a monotone clock. A reading before the latest counts as the latest,
///           which can only lengthen a life. More than max_step ahead is refused, nothing changes.
///           A wall clock is the wrong one: set forward by mistake, it expires what it jumps over.
/// Cost      no division inside a grid cell; worst case O(k) per call; a victim of dust (any number of tiny
///           deposits) spends in at most k + 1 steps.
/// Threads   none of its own: calls on one account, or on the two of a transfer, must not overlap; Ledger
///           (ledger.h) is for many threads.
/// Requires  the policy outlives the account; the first reading, `start`, is at least 0.
/// Errors    Outcome; refused calls change no amount (they may settle what has lapsed).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "algos/base/require.h"
#include "algos/ttl/compact_store.h"
#include "algos/ttl/outcome.h"
#include "algos/ttl/policy.h"
#include "algos/ttl/ring_store.h"

namespace tessera::ttl {

/// What lapses next, and when.
struct NextExpiry {
  Ticks at;
  Amount amount;
  bool operator==(const NextExpiry&) const = default;
};

struct Settled {
  Outcome outcome;
  Amount lapsed;  // since the last call of any kind
};

template <class Store>
class BasicBalance {
 public:
  BasicBalance(const Policy& policy, Ticks start) : policy_(&policy), store_(policy.slots()) {
    TS_REQUIRE(start >= 0, start);
    move_to(start);
  }

  /// Time passes. The calls below do this themselves; call it first to learn what has lapsed.
  Settled settle(Ticks now) {
    if (now <= seen_) return {now < 0 ? Outcome::kNegativeTime : Outcome::kDone, 0};
    if (now - seen_ > policy_->max_step()) return {Outcome::kStepTooLong, 0};
    return {Outcome::kDone, move_to(now)};
  }

  /// Time passes a gap that is known to be true, however long: an account nobody touched for longer than
  /// max_step is refused everything else.
  Settled resume(Ticks now) {
    if (now <= seen_) return {now < 0 ? Outcome::kNegativeTime : Outcome::kDone, 0};
    return {Outcome::kDone, move_to(now)};
  }

  Outcome deposit(Ticks now, Amount amount) {
    if (const Outcome outcome = settle(now).outcome; outcome != Outcome::kDone) return outcome;
    if (seen_ > policy_->latest_deposit()) return Outcome::kPastLatestDeposit;
    if (amount > max_deposit()) return Outcome::kTooMuch;
    if (amount == 0) return Outcome::kDone;
    store_.add(policy_->slot_of_deposit(seen_ - cell_), amount);
    total_ += amount;
    return Outcome::kDone;
  }

  Outcome spend(Ticks now, Amount amount) {
    if (const Outcome outcome = settle(now).outcome; outcome != Outcome::kDone) return outcome;
    if (amount > total_) return Outcome::kInsufficientBalance;
    store_.take(amount, [](std::uint32_t, Amount) {});
    total_ -= amount;
    return Outcome::kDone;
  }

  /// Live amount at max(now, latest reading). Changes nothing.
  [[nodiscard]] Amount balance(Ticks now) const { return total_ - store_.sum_before(cells_until(now)); }

  /// None when nothing is live, or nothing ever lapses.
  [[nodiscard]] std::optional<NextExpiry> next_expiry(Ticks now) const {
    if (policy_->permanent()) return std::nullopt;
    const std::optional<Record> record = store_.first_from(cells_until(now));
    if (!record) return std::nullopt;
    return NextExpiry{expiry_of(record->slot), record->amount};
  }

  /// each(expiry, amount) for every record live at max(now, latest reading), earliest first. A permanent
  /// amount has expiry 2^63 - 1.
  template <class Each>
  void for_each_record(Ticks now, Each each) const {
    for (auto record = store_.first_from(cells_until(now)); record;
         record = store_.first_from(record->slot + 1)) {
      each(expiry_of(record->slot), record->amount);
    }
  }

  /// How many of them.
  [[nodiscard]] std::uint32_t records(Ticks now) const {
    std::uint32_t count = 0;
    for_each_record(now, [&](Ticks, Amount) { ++count; });
    return count;
  }

  /// Puts back a record as for_each_record gave it. False, and nothing changes, unless `expiry` is one that
  /// can be live at the latest reading and the amount is above 0 and fits.
  [[nodiscard]] bool restore(Ticks expiry, Amount amount) {
    if (amount == 0 || amount > max_deposit() || expiry <= seen_) return false;
    if ((expiry - cell_) % policy_->width() != 0) return false;
    const Ticks slot = (expiry - cell_) / policy_->width() - 1;
    if (slot > policy_->slot_of_deposit(seen_ - cell_)) return false;
    store_.add(static_cast<std::uint32_t>(slot), amount);
    total_ += amount;
    return true;
  }

  [[nodiscard]] Ticks latest_reading() const { return seen_; }
  [[nodiscard]] const Policy& policy() const { return *policy_; }
  [[nodiscard]] Store& store() { return store_; }

  /// Moves `amount` with its expiries. A transfer to oneself needs the balance too, and then changes nothing.
  /// Both accounts come to max(now, both latest readings), so that equal slots are equal expiries.
  template <class A, class B>
  friend Outcome transfer(BasicBalance<A>& from, BasicBalance<B>& to, Ticks now, Amount amount);

 private:
  Amount move_to(Ticks now) {
    seen_ = now;
    if (now - cell_ < policy_->width() || policy_->permanent()) return 0;
    const Ticks cells = (now - cell_) / policy_->width();
    cell_ += cells * policy_->width();
    const Amount lapsed = store_.drop(static_cast<std::uint64_t>(cells));
    total_ -= lapsed;
    return lapsed;
  }

  /// Grid points in (cell start, now]: the slots that are dead at `now`.
  [[nodiscard]] std::uint64_t cells_until(Ticks now) const {
    if (policy_->permanent()) return 0;
    return static_cast<std::uint64_t>((std::max(now, seen_) - cell_) / policy_->width());
  }
  [[nodiscard]] Ticks expiry_of(std::uint32_t slot) const {
    return cell_ + (static_cast<Ticks>(slot) + 1) * policy_->width();
  }
  [[nodiscard]] Amount max_deposit() const { return ~Amount{0} - total_; }

  const Policy* policy_;
  Ticks seen_ = 0;
  Ticks cell_ = 0;  // the last grid point at or before seen_
  Amount total_ = 0;
  Store store_;
};

template <class A, class B>
Outcome transfer(BasicBalance<A>& from, BasicBalance<B>& to, Ticks now, Amount amount) {
  TS_REQUIRE(from.policy_->same_grid(*to.policy_), from.policy_->ttl(), to.policy_->ttl());
  if (now < 0) return Outcome::kNegativeTime;
  now = std::max({now, from.seen_, to.seen_});
  for (const Outcome outcome : {from.settle(now).outcome, to.settle(now).outcome}) {
    if (outcome != Outcome::kDone) return outcome;
  }
  if (amount > from.total_) return Outcome::kInsufficientBalance;
  if (static_cast<const void*>(&from) == static_cast<const void*>(&to)) return Outcome::kDone;
  if (amount > to.max_deposit()) return Outcome::kTooMuch;
  from.store_.take(amount, [&](std::uint32_t slot, Amount part) { to.store_.add(slot, part); });
  from.total_ -= amount;
  to.total_ += amount;
  return Outcome::kDone;
}

/// Fastest: k + 1 amounts in one block from the start.
using RingBalance = BasicBalance<RingStore>;
/// Smallest: memory follows the number of records.
using CompactBalance = BasicBalance<CompactStore>;

}  // namespace tessera::ttl
