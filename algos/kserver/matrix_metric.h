/// Any metric, as the table of its distances.
///
/// make() checks everything the theorems rely on: zero diagonal, symmetry, range, and the triangle
/// inequality for all triples. A table of measured times often breaks the last one; the message then shows
/// the detour that is shorter, and shortest_paths() repairs the table.
/// Limits    n <= kMaxMatrixPoints. The check is n^3 / 2 vector steps: 0.1 s at n = 1000, about 10 s at 4096.
#pragma once

#include <string>
#include <vector>

#include "algos/kserver/metric.h"

namespace tessera::kserver {

inline constexpr std::int32_t kMaxMatrixPoints = 4096;

class MatrixMetric final : public Metric {
 public:
  /// `table`: n rows of n distances, one after the other.
  static Result<MatrixMetric> make(std::vector<Distance> table, std::int32_t points,
                                   const std::string& source = "matrix");

  [[nodiscard]] Distance distance(Point a, Point b) const override;
  [[nodiscard]] std::span<const Distance> distances_from(Point from,
                                                         std::span<Distance> scratch) const override;

 private:
  MatrixMetric(std::vector<Distance> table, std::int32_t points, Distance diameter);
  std::vector<Distance> table_;
};

/// The largest metric nowhere above `table` (zero diagonal, symmetric, entries 0..kMaxDistance): Floyd 1962,
/// O(n^3), in place.
void shortest_paths(std::span<Distance> table, std::int32_t points);

}  // namespace tessera::kserver
