/// Linear relaxation of a packing: maximise sum_c value_c x_c subject to sum_c amount_ck x_c <= room_k, x >=
/// 0.
///
/// Revised simplex method from the all-slack basis. There are few rows (types of units) and many columns, so
/// the inverse of the basis is held densely and every column is priced in each pivot.
///
/// Source must have   std::size_t columns() const;   double value(std::size_t c) const;
///                    double amount(std::size_t c, std::size_t k) const;
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace tessera::planner {

template <class Source>
class Relaxation {
 public:
  /// `source` must outlive this. Ends after a limit of pivots too: the prices are then not optimal.
  Relaxation(const Source& source, std::span<const double> room) : source_(source), rows_(room.size()) {
    inverse_.assign(rows_, std::vector<double>(rows_, 0));
    for (std::size_t k = 0; k < rows_; ++k) {
      inverse_[k][k] = 1;
      basis_.push_back(-1 - static_cast<int>(k));
      amounts_.push_back(room[k]);
    }
    prices_.assign(rows_, 0);
    constexpr int kMostPivots = 2000;  // each one is a step up or degenerate
    for (int pivot = 0; pivot < kMostPivots && improve(); ++pivot) {
    }
  }
  /// Of a unit of each row, in value; of the last basis priced.
  [[nodiscard]] const std::vector<double>& prices() const { return prices_; }
  /// Column indices, or -1 - k for the slack of row k.
  [[nodiscard]] const std::vector<int>& basis() const { return basis_; }
  /// Of the basis members, in their order.
  [[nodiscard]] const std::vector<double>& amounts() const { return amounts_; }

 private:
  [[nodiscard]] double amount_of(int member, std::size_t row) const {
    if (member < 0) return row == static_cast<std::size_t>(-1 - member) ? 1 : 0;
    return source_.amount(static_cast<std::size_t>(member), row);
  }
  bool improve() {
    for (std::size_t k = 0; k < rows_; ++k) {
      prices_[k] = 0;
      for (std::size_t i = 0; i < rows_; ++i) {
        if (basis_[i] >= 0) {
          prices_[k] += source_.value(static_cast<std::size_t>(basis_[i])) * inverse_[i][k];
        }
      }
    }
    int entering = 0;
    double best = 1e-9;
    bool found = false;
    for (std::size_t c = 0; c < source_.columns(); ++c) {
      double gain = source_.value(c);
      if (!(gain > 0)) continue;
      for (std::size_t k = 0; k < rows_; ++k) gain -= prices_[k] * source_.amount(c, k);
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
      for (std::size_t k = 0; k < rows_; ++k) direction[i] += inverse_[i][k] * amount_of(entering, k);
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

  const Source& source_;
  std::size_t rows_;
  std::vector<std::vector<double>> inverse_;
  std::vector<int> basis_;
  std::vector<double> amounts_;
  std::vector<double> prices_;
};

}  // namespace tessera::planner
