/// The live amounts of one account as a ring: slot s is what lapses at the (s + 1)-th grid point from here.
///
/// Live grid points are always among `slots` consecutive ones (policy.h), so the place (head + s) mod slots
/// never holds two of them. Moving on by one grid point clears one place and turns the head.
///
///        head = 3                          drop(1)               head = 4
///   place  0   1   2  [3]  4        ->       0   1   2   3  [4]
///   slot   2   3   4   0   1                 1   2   3   4   0
///   amount 7   0   9   5   2                 7   0   9   0   2        5 has lapsed
///
/// A Store, as BasicBalance (balance.h) needs it: this class, or CompactStore (compact_store.h).
/// Cost      add O(1); drop, take and sums O(slots) at worst, O(1) amortised per place that was filled:
///           empty places at the front are passed once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>

#include "algos/ttl/policy.h"

namespace tessera::ttl {

struct Record {
  std::uint32_t slot;
  Amount amount;  // above 0
};

class RingStore {
 public:
  explicit RingStore(std::uint32_t slots)
      : amounts_(std::make_unique<Amount[]>(slots)), slots_(slots), front_(slots) {}

  /// Time passes `cells` grid points: their amounts lapse. Returns the sum of them.
  Amount drop(std::uint64_t cells) {
    const auto gone = static_cast<std::uint32_t>(std::min<std::uint64_t>(cells, slots_));
    Amount lapsed = 0;
    for (std::uint32_t slot = front_; slot < gone; ++slot) {
      Amount& amount = amounts_[place(slot)];
      lapsed += amount;
      amount = 0;
    }
    head_ = gone == slots_ ? 0 : place(gone);
    front_ = front_ == slots_ || gone == slots_ ? slots_ : std::max(front_, gone) - gone;
    return lapsed;
  }

  /// Requires slot < slots; the sum of all amounts must fit Amount.
  void add(std::uint32_t slot, Amount amount) {
    amounts_[place(slot)] += amount;
    front_ = std::min(front_, slot);
  }

  /// Takes `amount` from the earliest slots on; each(slot, part) sees where it came from.
  /// Requires amount <= the sum of all.
  template <class Each>
  void take(Amount amount, Each each) {
    while (amount > 0) {
      Amount& here = amounts_[place(front_)];
      const Amount part = std::min(here, amount);
      here -= part;
      amount -= part;
      if (part > 0) each(front_, part);
      if (here == 0) ++front_;
    }
  }

  /// Sum of the slots before `slot`.
  [[nodiscard]] Amount sum_before(std::uint64_t slot) const {
    const auto end = static_cast<std::uint32_t>(std::min<std::uint64_t>(slot, slots_));
    Amount sum = 0;
    for (std::uint32_t s = front_; s < end; ++s) sum += amounts_[place(s)];
    return sum;
  }

  /// The first amount at `slot` or later.
  [[nodiscard]] std::optional<Record> first_from(std::uint64_t slot) const {
    for (std::uint64_t s = std::max<std::uint64_t>(slot, front_); s < slots_; ++s) {
      const auto at = static_cast<std::uint32_t>(s);
      if (amounts_[place(at)] > 0) return Record{at, amounts_[place(at)]};
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::uint32_t place(std::uint32_t slot) const {
    const std::uint32_t at = head_ + slot;
    return at >= slots_ ? at - slots_ : at;
  }

  std::unique_ptr<Amount[]> amounts_;
  std::uint32_t slots_;
  std::uint32_t head_ = 0;
  std::uint32_t front_;  // no amount before this slot; slots_ when there is none at all
};

}  // namespace tessera::ttl
