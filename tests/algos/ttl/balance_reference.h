/// The rules of algos/ttl/balance.h the long way: every deposit is a row of its own, and nothing is ever
/// merged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "algos/ttl/balance.h"

namespace tessera::ttl::reference {

__extension__ using Wide = __int128;

inline constexpr Ticks kNever = std::numeric_limits<Ticks>::max();

/// ceil((t + T) / w) * w with w = ceil(T / k), straight from the definition.
inline Ticks expiry(Ticks ttl, std::int64_t buckets, Ticks t) {
  if (ttl == 0) return kNever;
  const Wide width = (Wide{ttl} + buckets - 1) / buckets;
  return static_cast<Ticks>((Wide{t} + ttl + width - 1) / width * width);
}

struct Row {
  Ticks expiry;
  Amount amount;
  Ticks deposited;
};

class Account {
 public:
  Account(Ticks ttl, std::int64_t buckets, Ticks start) : ttl_(ttl), buckets_(buckets), seen_(start) {}

  void see(Ticks now) {
    seen_ = std::max(seen_, now);
    std::erase_if(rows_, [&](const Row& row) {
      if (row.expiry > seen_) return false;
      expired += row.amount;
      return true;
    });
  }
  void deposit(Ticks now, Amount amount) {
    see(now);
    put({expiry(ttl_, buckets_, seen_), amount, seen_});
    deposited += amount;
  }
  bool spend(Ticks now, Amount amount) {
    see(now);
    if (amount > balance(seen_)) return false;
    take(amount);
    spent += amount;
    return true;
  }
  static bool transfer(Account& from, Account& to, Ticks now, Amount amount) {
    now = std::max({now, from.seen_, to.seen_});
    from.see(now);
    to.see(now);
    if (amount > from.balance(now)) return false;
    for (const Row& row : from.take(amount)) to.put(row);
    return true;
  }

  [[nodiscard]] Amount balance(Ticks now) const {
    Amount sum = 0;
    for (const Row& row : rows_) sum += row.expiry > std::max(now, seen_) ? row.amount : 0;
    return sum;
  }
  /// Rows with one expiry are one record.
  [[nodiscard]] std::map<Ticks, Amount> records(Ticks now) const {
    std::map<Ticks, Amount> merged;
    for (const Row& row : rows_) {
      if (row.expiry > std::max(now, seen_)) merged[row.expiry] += row.amount;
    }
    return merged;
  }
  [[nodiscard]] std::optional<NextExpiry> next_expiry(Ticks now) const {
    const auto all = records(now);
    if (all.empty() || ttl_ == 0) return std::nullopt;
    return NextExpiry{all.begin()->first, all.begin()->second};
  }
  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  [[nodiscard]] Ticks seen() const { return seen_; }

  Amount deposited = 0;
  Amount spent = 0;
  Amount expired = 0;

 private:
  void put(Row row) {
    if (row.amount == 0) return;
    const auto after = std::upper_bound(rows_.begin(), rows_.end(), row,
                                        [](const Row& a, const Row& b) { return a.expiry < b.expiry; });
    rows_.insert(after, row);
  }
  std::vector<Row> take(Amount amount) {
    std::vector<Row> parts;
    while (amount > 0) {
      Row& first = rows_.front();
      const Amount part = std::min(first.amount, amount);
      parts.push_back({first.expiry, part, first.deposited});
      amount -= part;
      first.amount -= part;
      if (first.amount == 0) rows_.erase(rows_.begin());
    }
    return parts;
  }

  Ticks ttl_;
  std::int64_t buckets_;
  Ticks seen_;
  std::vector<Row> rows_;
};

}  // namespace tessera::ttl::reference
