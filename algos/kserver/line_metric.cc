#include "algos/kserver/line_metric.h"

#include <algorithm>
#include <cstdlib>

namespace tessera::kserver {

Result<LineMetric> LineMetric::make(std::vector<Distance> positions, const std::string& source) {
  TS_TRY(internal::check_point_count(positions.size(), "positions", source));
  const auto [low, high] = std::minmax_element(positions.begin(), positions.end());
  // Unsigned: the difference of any two 64-bit positions fits.
  const std::uint64_t width = static_cast<std::uint64_t>(*high) - static_cast<std::uint64_t>(*low);
  if (width > static_cast<std::uint64_t>(kMaxDistance)) {
    return internal::bad_distance("positions " + std::to_string(width) + " apart", "positions", source);
  }
  return LineMetric(std::move(positions), static_cast<Distance>(width));
}

LineMetric::LineMetric(std::vector<Distance> positions, Distance diameter)
    : Metric(static_cast<std::int32_t>(positions.size()), diameter), positions_(std::move(positions)) {}

Distance LineMetric::distance(Point a, Point b) const { return std::abs(position(a) - position(b)); }

std::span<const Distance> LineMetric::distances_from(Point from, std::span<Distance> scratch) const {
  const Distance x = position(from);
  std::transform(positions_.begin(), positions_.end(), scratch.begin(),
                 [x](Distance y) { return std::abs(x - y); });
  return scratch;
}

}  // namespace tessera::kserver
