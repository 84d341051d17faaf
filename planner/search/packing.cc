#include "planner/search/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "planner/search/relaxation.h"

namespace tessera::planner {
namespace {

constexpr double kMostExactWork = 3e6;  // states times columns: some milliseconds

double states_of(std::span<const int> units) {
  double states = 1;
  for (const int count : units) states *= count + 1.0;
  return states;
}

/// The vectors 0 <= v <= units, each with its place in a mixed-radix order in which v - c comes before v.
class UnitVectors {
 public:
  explicit UnitVectors(std::span<const int> units) : units_(units.begin(), units.end()) {
    std::size_t weight = 1;
    for (const int count : units_) {
      weights_.push_back(weight);
      weight *= static_cast<std::size_t>(count) + 1;
    }
    size_ = weight;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t weight(std::size_t type) const { return weights_[type]; }
  [[nodiscard]] std::size_t index(std::span<const int> vector) const {
    std::size_t at = 0;
    for (std::size_t k = 0; k < weights_.size(); ++k) at += weights_[k] * static_cast<std::size_t>(vector[k]);
    return at;
  }
  /// The next vector in order; the first is all zero.
  void advance(std::vector<int>& vector) const {
    for (std::size_t k = 0; k < units_.size(); ++k) {
      if (++vector[k] <= units_[k]) return;
      vector[k] = 0;
    }
  }

 private:
  std::vector<int> units_;
  std::vector<std::size_t> weights_;
  std::size_t size_ = 1;
};

bool fits(std::span<const int> units, std::span<const int> room) {
  for (std::size_t k = 0; k < units.size(); ++k) {
    if (units[k] > room[k]) return false;
  }
  return true;
}

/// Columns as the relaxation wants them.
struct ColumnSource {
  std::span<const GroupTable::Column> table;
  std::span<const std::int64_t> values;
  [[nodiscard]] std::size_t columns() const { return table.size(); }
  [[nodiscard]] double value(std::size_t c) const { return static_cast<double>(values[c]); }
  [[nodiscard]] double amount(std::size_t c, std::size_t k) const { return table[c].units[k]; }
};

double price_of(const std::vector<double>& prices, std::span<const int> units) {
  double price = 0;
  for (std::size_t k = 0; k < units.size(); ++k) price += prices[k] * units[k];
  return price;
}

/// The value of any packing is at most that of all units, once no column has more value than its price.
std::int64_t dual_bound(std::span<const GroupTable::Column> columns, std::span<const int> units,
                        std::span<const std::int64_t> values, const std::vector<double>& prices) {
  double scale = 1;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (values[c] == 0) continue;
    const double price = price_of(prices, columns[c].units);
    if (!(price > 0)) return std::numeric_limits<std::int64_t>::max();
    scale = std::max(scale, static_cast<double>(values[c]) / price);
  }
  const double bound = scale * price_of(prices, units);
  constexpr double kRounding = 1e-9;  // of the products above
  return static_cast<std::int64_t>(std::floor(bound * (1 + kRounding) + kRounding));
}

}  // namespace

Packer::Packer(std::span<const GroupTable::Column> columns, std::span<const int> units, PackCount count)
    : columns_(columns), units_(units), count_(count) {
  const double counts = count.most > 0 ? count.most + 1.0 : 1.0;
  exact_ = states_of(units) * static_cast<double>(columns.size() + 1) * counts <= kMostExactWork;
}

Packing Packer::pack(std::span<const std::int64_t> values) const {
  return exact_ ? pack_exactly(values, units_, count_) : pack_by_relaxation(values);
}

Packing Packer::pack_exactly(std::span<const std::int64_t> values, std::span<const int> units,
                             PackCount count) const {
  const UnitVectors vectors(units);
  struct Usable {
    std::int64_t value;
    int column;
    std::size_t offset;
  };
  std::vector<Usable> usable;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (values[c] > 0 && fits(columns_[c].units, units)) {
      usable.push_back({values[c], static_cast<int>(c), vectors.index(columns_[c].units)});
    }
  }
  // Without a limit on the count there is one layer, in which a column leads back to the same layer.
  const int layers = count.most > 0 ? count.most : 0;
  const std::size_t size = vectors.size();
  constexpr std::int64_t kNever = -1;
  constexpr int kStop = -1;
  constexpr int kIdle = -2;  // kIdle - k: a unit of type k stays idle
  std::vector<std::int64_t> best(size * static_cast<std::size_t>(layers + 1), kNever);
  std::vector<int> choice(best.size(), kStop);
  for (int layer = 0; layer <= layers; ++layer) {
    const std::size_t base = static_cast<std::size_t>(layer) * size;
    const bool counted = count.most > 0;
    std::vector<int> vector(units.size(), 0);
    for (std::size_t at = 0; at < size; ++at) {
      std::int64_t& value = best[base + at];
      if (layer == 0) value = 0;  // nothing chosen
      for (std::size_t k = 0; k < units.size(); ++k) {
        if (vector[k] == 0) continue;
        const std::int64_t less = best[base + at - vectors.weight(k)];
        if (less > value) {
          value = less;
          choice[base + at] = kIdle - static_cast<int>(k);
        }
      }
      if (!counted || layer > 0) {
        const std::size_t from = counted ? base - size : base;
        for (const Usable& column : usable) {
          if (column.offset > at || !fits(columns_[static_cast<std::size_t>(column.column)].units, vector))
            continue;
          const std::int64_t rest = best[from + at - column.offset];
          if (rest != kNever && rest + column.value > value) {
            value = rest + column.value;
            choice[base + at] = column.column;
          }
        }
      }
      vectors.advance(vector);
    }
  }
  Packing packing;
  int layer = 0;
  std::int64_t most = count.most > 0 ? kNever : best[size - 1];
  for (int chosen = count.least; chosen <= layers && count.most > 0; ++chosen) {
    const std::int64_t value = best[static_cast<std::size_t>(chosen) * size + size - 1];
    if (value > most) {
      most = value;
      layer = chosen;
    }
  }
  packing.value = std::max<std::int64_t>(most, 0);
  packing.bound = packing.value;
  if (most <= 0) return packing;
  std::size_t at = size - 1;
  while (true) {
    const int chosen = choice[static_cast<std::size_t>(layer) * size + at];
    if (chosen == kStop) break;
    if (chosen <= kIdle) {
      at -= vectors.weight(static_cast<std::size_t>(kIdle - chosen));
      continue;
    }
    packing.columns.push_back(chosen);
    at -= vectors.index(columns_[static_cast<std::size_t>(chosen)].units);
    if (count.most > 0) --layer;
  }
  return packing;
}

Packing Packer::pack_by_relaxation(std::span<const std::int64_t> values) const {
  const ColumnSource source{columns_, values};
  const std::vector<double> room(units_.begin(), units_.end());
  const Relaxation relaxation(source, room);
  std::vector<double> prices = relaxation.prices();
  for (double& price : prices) price = std::max(price, 0.0);
  Packing packing;
  packing.bound = dual_bound(columns_, units_, values, prices);

  std::vector<int> left(units_.begin(), units_.end());
  const auto take = [&](std::size_t column) {
    for (std::size_t k = 0; k < left.size(); ++k) left[k] -= columns_[column].units[k];
    packing.columns.push_back(static_cast<int>(column));
    packing.value += values[column];
  };
  // The floor of the relaxation, less one of each so that the rest has something to choose from.
  for (std::size_t i = 0; i < relaxation.basis().size(); ++i) {
    if (relaxation.basis()[i] < 0) continue;
    const auto column = static_cast<std::size_t>(relaxation.basis()[i]);
    const auto whole = static_cast<int>(std::floor(relaxation.amounts()[i] + 1e-9));
    for (int copy = 0; copy < whole - 1 && fits(columns_[column].units, left); ++copy) take(column);
  }
  if (states_of(left) * static_cast<double>(columns_.size() + 1) <= kMostExactWork) {
    const Packing rest = pack_exactly(values, left, {});
    for (const int column : rest.columns) take(static_cast<std::size_t>(column));
    return packing;
  }
  // Too many units left to be exact: the columns that give most for their price, as long as one fits.
  std::vector<std::size_t> order;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (values[c] > 0) order.push_back(c);
  }
  const auto worth = [&](std::size_t c) {
    return static_cast<double>(values[c]) / std::max(price_of(prices, columns_[c].units), 1e-9);
  };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const double worth_a = worth(a);
    const double worth_b = worth(b);
    return worth_a != worth_b ? worth_a > worth_b : a < b;
  });
  for (const std::size_t column : order) {
    while (fits(columns_[column].units, left)) take(column);
  }
  return packing;
}

}  // namespace tessera::planner
