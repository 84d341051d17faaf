/// The live amounts of one account in the smaller of two forms: a sorted list while few, a ring when many.
///
/// Same results as RingStore. The list takes 16 bytes a record, the ring 8 bytes a slot, so the list turns
/// into the ring above slots / 2 records; shrink() turns it back. Cost O(slots) at worst, like the ring.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "algos/ttl/ring_store.h"

namespace tessera::ttl {

/// Records in order of their grid point. Points are counted modulo 2^32 from `base_`, which moves with time:
/// a record keeps its number for life, and slots are below 2^20, so differences are exact.
class ListStore {
 public:
  Amount drop(std::uint64_t cells);
  void add(std::uint32_t slot, Amount amount);
  template <class Each>
  void take(Amount amount, Each each) {
    auto record = records_.begin();
    while (amount > 0) {
      const Amount part = std::min(record->amount, amount);
      record->amount -= part;
      amount -= part;
      each(record->point - base_, part);
      if (record->amount == 0) ++record;
    }
    records_.erase(records_.begin(), record);
  }
  [[nodiscard]] Amount sum_before(std::uint64_t slot) const;
  [[nodiscard]] std::optional<Record> first_from(std::uint64_t slot) const;

  [[nodiscard]] std::size_t size() const { return records_.size(); }
  void give_back_memory() { records_.shrink_to_fit(); }

 private:
  struct Numbered {
    std::uint32_t point;
    Amount amount;
  };
  std::vector<Numbered> records_;
  std::uint32_t base_ = 0;
};

class CompactStore {
 public:
  explicit CompactStore(std::uint32_t slots) : slots_(slots) {}

  Amount drop(std::uint64_t cells) {
    return std::visit([&](auto& form) { return form.drop(cells); }, form_);
  }
  void add(std::uint32_t slot, Amount amount);
  template <class Each>
  void take(Amount amount, Each each) {
    std::visit([&](auto& form) { form.take(amount, each); }, form_);
  }
  [[nodiscard]] Amount sum_before(std::uint64_t slot) const {
    return std::visit([&](const auto& form) { return form.sum_before(slot); }, form_);
  }
  [[nodiscard]] std::optional<Record> first_from(std::uint64_t slot) const {
    return std::visit([&](const auto& form) { return form.first_from(slot); }, form_);
  }

  /// To the smaller form, with no spare memory. O(slots).
  void shrink();
  [[nodiscard]] bool is_ring() const { return std::holds_alternative<RingStore>(form_); }

 private:
  std::variant<ListStore, RingStore> form_;
  std::uint32_t slots_;
};

}  // namespace tessera::ttl
