/// A finite metric space: points 0..n-1 and their distances, in whole numbers of the caller's unit
/// (microseconds, bytes, hops). Integers make every cost and every identity of this library exact.
///
///   d(a,a) = 0,  d(a,b) = d(b,a) >= 0,  d(a,c) <= d(a,b) + d(b,c)
///
/// Two points may be at distance 0: two names of one place.
/// Limits    0 < n <= kMaxPoints; the largest distance (diameter) <= kMaxDistance.
/// Kinds     line_metric.h, tree_metric.h, uniform_metric.h, matrix_metric.h (any metric, checked).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "algos/base/index.h"
#include "algos/base/status.h"

namespace tessera::kserver {

using Point = Index<struct PointTag>;
using Distance = std::int64_t;

inline constexpr std::int32_t kMaxPoints = std::int32_t{1} << 24;
inline constexpr Distance kMaxDistance = Distance{1} << 40;
/// Sums of distances stay below this; functions refuse what could pass it.
inline constexpr Distance kMaxCost = Distance{1} << 61;

class Metric {
 public:
  virtual ~Metric() = default;

  [[nodiscard]] std::int32_t points() const { return points_; }
  [[nodiscard]] Distance diameter() const { return diameter_; }
  [[nodiscard]] bool contains(Point p) const { return p.value >= 0 && p.value < points_; }

  [[nodiscard]] virtual Distance distance(Point a, Point b) const = 0;
  /// d(from, 0..n-1), in O(n). Either memory of the metric, or `scratch` (n entries), filled.
  [[nodiscard]] virtual std::span<const Distance> distances_from(Point from,
                                                                 std::span<Distance> scratch) const = 0;

 protected:
  Metric(std::int32_t points, Distance diameter) : points_(points), diameter_(diameter) {}
  Metric(const Metric&) = default;
  Metric(Metric&&) = default;
  Metric& operator=(const Metric&) = default;
  Metric& operator=(Metric&&) = default;

 private:
  std::int32_t points_;
  Distance diameter_;
};

namespace internal {
/// Ok for 1..kMaxPoints points; `source` names the file or caller in the message.
Status check_point_count(std::size_t count, const std::string& field, const std::string& source);
Status bad_distance(const std::string& found, const std::string& field, const std::string& source);
}  // namespace internal

}  // namespace tessera::kserver
