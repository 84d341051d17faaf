/// Which columns, how often: the most value that the units of each type allow.
///
///   maximise sum_c value_c x_c   subject to   sum_c units_c x_c <= units,   x_c >= 0 integer
///
/// Exact     by dynamic programming over the vector of units left, where its states times the columns are
/// few. Bounded   otherwise: the linear relaxation (one row per type, so its basis has as many columns as
/// there are
///           types) bounds from above, by a dual solution that is made feasible before it is used; its floor,
///           with the rest packed again, is the solution.
/// Source    AutoHet notes, 2.6; column generation after Gilmore & Gomory 1961.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planner/search/group_table.h"

namespace tessera::planner {

struct Packing {
  std::int64_t bound = 0;    // no choice has more value
  std::int64_t value = 0;    // of `columns`
  std::vector<int> columns;  // chosen, with repetition
};

/// How many columns a packing may have. A range other than the whole is served by exact packers only.
struct PackCount {
  int least = 0;
  int most = 0;  // 0: no limit
};

class Packer {
 public:
  /// `columns` and `units` must outlive this.
  Packer(std::span<const GroupTable::Column> columns, std::span<const int> units, PackCount count = {});

  [[nodiscard]] bool exact() const { return exact_; }
  /// `values`: one per column, >= 0; a column of value 0 is not used.
  [[nodiscard]] Packing pack(std::span<const std::int64_t> values) const;

 private:
  [[nodiscard]] Packing pack_exactly(std::span<const std::int64_t> values, std::span<const int> units,
                                     PackCount count) const;
  [[nodiscard]] Packing pack_by_relaxation(std::span<const std::int64_t> values) const;

  std::span<const GroupTable::Column> columns_;
  std::span<const int> units_;
  PackCount count_;
  bool exact_ = true;
};

}  // namespace tessera::planner
