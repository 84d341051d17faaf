#include "planner/search/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

/// Maximises value . x, columns x <= units, x >= 0, by the revised simplex method with one row per type.
/// Basis members are column indices, or -1 - k for the slack of type k.
class Relaxation {
 public:
  Relaxation(std::span<const GroupTable::Column> columns, std::span<const int> units,
             std::span<const std::int64_t> values)
      : columns_(columns), values_(values), rows_(units.size()) {
    inverse_.assign(rows_, std::vector<double>(rows_, 0));
    for (std::size_t k = 0; k < rows_; ++k) {
      inverse_[k][k] = 1;
      basis_.push_back(-1 - static_cast<int>(k));
      amounts_.push_back(units[k]);
    }
    prices_.assign(rows_, 0);
    constexpr int kMostPivots = 2000;  // each one is a step up or degenerate; the bound below is sound anyway
    for (int pivot = 0; pivot < kMostPivots && improve(); ++pivot) {
    }
  }
  [[nodiscard]] const std::vector<double>& prices() const { return prices_; }
  [[nodiscard]] const std::vector<int>& basis() const { return basis_; }
  [[nodiscard]] const std::vector<double>& amounts() const { return amounts_; }

 private:
  [[nodiscard]] double units_of(int member, std::size_t type) const {
    if (member < 0) return type == static_cast<std::size_t>(-1 - member) ? 1 : 0;
    return columns_[static_cast<std::size_t>(member)].units[type];
  }
  bool improve() {
    for (std::size_t k = 0; k < rows_; ++k) {
      prices_[k] = 0;
      for (std::size_t i = 0; i < rows_; ++i) {
        if (basis_[i] >= 0) {
          prices_[k] += static_cast<double>(values_[static_cast<std::size_t>(basis_[i])]) * inverse_[i][k];
        }
      }
    }
    int entering = 0;
    double best = 1e-9;
    bool found = false;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (values_[c] == 0) continue;
      double gain = static_cast<double>(values_[c]);
      for (std::size_t k = 0; k < rows_; ++k) gain -= prices_[k] * columns_[c].units[k];
      if (gain > best) {
        best = gain;
        entering = static_cast<int>(c);
        found = true;
      }
    }
    for (std::size_t k = 0; k < rows_; ++k) {
      if (-prices_[k] > best) {
        best = -prices_[k];
        entering = -1 - static_cast<int>(k);
        found = true;
      }
    }
    return found && exchange(entering);
  }
  bool exchange(int entering) {
    std::vector<double> direction(rows_, 0);
    for (std::size_t i = 0; i < rows_; ++i) {
      for (std::size_t k = 0; k < rows_; ++k) direction[i] += inverse_[i][k] * units_of(entering, k);
    }
    std::size_t leaving = rows_;
    double step = 0;
    for (std::size_t i = 0; i < rows_; ++i) {
      if (direction[i] <= 1e-12) continue;
      const double ratio = std::max(0.0, amounts_[i]) / direction[i];
      if (leaving == rows_ || ratio < step) {
        leaving = i;
        step = ratio;
      }
    }
    if (leaving == rows_) return false;
    for (std::size_t i = 0; i < rows_; ++i) amounts_[i] -= i == leaving ? 0 : step * direction[i];
    amounts_[leaving] = step;
    basis_[leaving] = entering;
    for (std::size_t k = 0; k < rows_; ++k) inverse_[leaving][k] /= direction[leaving];
    for (std::size_t i = 0; i < rows_; ++i) {
      if (i == leaving) continue;
      for (std::size_t k = 0; k < rows_; ++k) inverse_[i][k] -= direction[i] * inverse_[leaving][k];
    }
    return true;
  }

  std::span<const GroupTable::Column> columns_;
  std::span<const std::int64_t> values_;
  std::size_t rows_;
  std::vector<std::vector<double>> inverse_;
  std::vector<int> basis_;
  std::vector<double> amounts_;
  std::vector<double> prices_;
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
  const Relaxation relaxation(columns_, units_, values);
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
