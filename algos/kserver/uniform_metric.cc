#include "algos/kserver/uniform_metric.h"

#include <algorithm>

namespace tessera::kserver {

Result<UniformMetric> UniformMetric::make(std::int64_t points, Distance apart, const std::string& source) {
  TS_TRY(internal::check_point_count(points < 0 ? 0 : static_cast<std::size_t>(points), "points", source));
  if (apart < 0 || apart > kMaxDistance) {
    return internal::bad_distance(std::to_string(apart), "distance", source);
  }
  return UniformMetric(static_cast<std::int32_t>(points), apart);
}

UniformMetric::UniformMetric(std::int32_t points, Distance apart)
    : Metric(points, points == 1 ? 0 : apart), apart_(apart) {}

Distance UniformMetric::distance(Point a, Point b) const { return a == b ? 0 : apart_; }

std::span<const Distance> UniformMetric::distances_from(Point from, std::span<Distance> scratch) const {
  std::fill(scratch.begin(), scratch.end(), apart_);
  scratch[static_cast<std::size_t>(from.value)] = 0;
  return scratch;
}

}  // namespace tessera::kserver
