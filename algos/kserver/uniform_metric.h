/// All moves cost the same: d(a,b) = `apart` for a != b. One switch, one page cache.
#pragma once

#include <string>

#include "algos/kserver/metric.h"

namespace tessera::kserver {

class UniformMetric final : public Metric {
 public:
  static Result<UniformMetric> make(std::int64_t points, Distance apart,
                                    const std::string& source = "uniform");

  [[nodiscard]] Distance distance(Point a, Point b) const override;
  [[nodiscard]] std::span<const Distance> distances_from(Point from,
                                                         std::span<Distance> scratch) const override;

 private:
  UniformMetric(std::int32_t points, Distance apart);
  Distance apart_;
};

}  // namespace tessera::kserver
