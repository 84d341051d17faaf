#include "algos/ttl/compact_store.h"

#include <algorithm>
#include <utility>

namespace tessera::ttl {
namespace {

/// each(slot, amount) for every record of a store, in order.
template <class Store, class Each>
void for_each_record(const Store& store, Each each) {
  for (auto record = store.first_from(0); record; record = store.first_from(record->slot + 1)) {
    each(record->slot, record->amount);
  }
}

}  // namespace

Amount ListStore::drop(std::uint64_t cells) {
  Amount lapsed = 0;
  auto live = records_.begin();
  for (; live != records_.end() && live->point - base_ < cells; ++live) lapsed += live->amount;
  records_.erase(records_.begin(), live);
  base_ += static_cast<std::uint32_t>(cells);
  return lapsed;
}

void ListStore::add(std::uint32_t slot, Amount amount) {
  // From the back: a deposit never lapses before an earlier one, so this is its place unless parts came from
  // another account.
  auto after = records_.end();
  while (after != records_.begin() && std::prev(after)->point - base_ > slot) --after;
  if (after != records_.begin() && std::prev(after)->point - base_ == slot) {
    std::prev(after)->amount += amount;
  } else {
    records_.insert(after, {base_ + slot, amount});
  }
}

Amount ListStore::sum_before(std::uint64_t slot) const {
  Amount sum = 0;
  for (const Numbered& record : records_) {
    if (record.point - base_ >= slot) break;
    sum += record.amount;
  }
  return sum;
}

std::optional<Record> ListStore::first_from(std::uint64_t slot) const {
  const auto found = std::partition_point(records_.begin(), records_.end(),
                                          [&](const Numbered& r) { return r.point - base_ < slot; });
  if (found == records_.end()) return std::nullopt;
  return Record{found->point - base_, found->amount};
}

void CompactStore::add(std::uint32_t slot, Amount amount) {
  if (RingStore* ring = std::get_if<RingStore>(&form_)) return ring->add(slot, amount);
  ListStore& list = std::get<ListStore>(form_);
  list.add(slot, amount);
  if (list.size() <= slots_ / 2) return;
  RingStore ring(slots_);
  for_each_record(list, [&](std::uint32_t at, Amount part) { ring.add(at, part); });
  form_ = std::move(ring);
}

void CompactStore::shrink() {
  ListStore list;
  std::size_t records = 0;
  std::visit([&](const auto& form) { for_each_record(form, [&](auto, auto) { ++records; }); }, form_);
  if (records > slots_ / 2) return;
  std::visit(
      [&](const auto& form) {
        for_each_record(form, [&](std::uint32_t slot, Amount part) { list.add(slot, part); });
      },
      form_);
  list.give_back_memory();
  form_ = std::move(list);
}

}  // namespace tessera::ttl
