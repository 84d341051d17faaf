/// Points on a line: d(a,b) = |x_a - x_b|.
///
/// Limits    max x - min x <= kMaxDistance; positions may repeat and need no order.
#pragma once

#include <string>
#include <vector>

#include "algos/kserver/metric.h"

namespace tessera::kserver {

class LineMetric final : public Metric {
 public:
  static Result<LineMetric> make(std::vector<Distance> positions, const std::string& source = "line");

  [[nodiscard]] Distance position(Point p) const { return positions_[static_cast<std::size_t>(p.value)]; }
  [[nodiscard]] Distance distance(Point a, Point b) const override;
  [[nodiscard]] std::span<const Distance> distances_from(Point from,
                                                         std::span<Distance> scratch) const override;

 private:
  LineMetric(std::vector<Distance> positions, Distance diameter);
  std::vector<Distance> positions_;
};

}  // namespace tessera::kserver
