/// How long a message takes over a link, or a collective over a group, as measured points.
///
///   seconds(x)   below the first point: that point's seconds (latency)
///                between two points: linear in x
///                beyond the last: the rate of the last two points (of the only point)
#pragma once

#include <vector>

#include "algos/base/status.h"

namespace tessera::planner {

struct LinkPoint {
  double bytes = 0;
  double seconds = 0;
  bool operator==(const LinkPoint&) const = default;
};

/// Points have strictly rising bytes and seconds that do not fall. Without points nothing can be sent.
struct LinkCurve {
  std::vector<LinkPoint> points;

  [[nodiscard]] bool empty() const { return points.empty(); }
  /// 0 for bytes <= 0; infinite on an empty curve. O(log points).
  [[nodiscard]] double seconds(double bytes) const;
  /// The rate of very large messages; 0 on an empty curve.
  [[nodiscard]] double bytes_per_s() const;
  /// The least of seconds(x) / x over all x > 0; infinite on an empty curve.
  [[nodiscard]] double least_seconds_per_byte() const;
  bool operator==(const LinkCurve&) const = default;
};

/// latency + bytes / rate.
[[nodiscard]] LinkCurve affine_link(double latency_s, double bytes_per_s);

/// The fitted form of measured links (AutoHet notes, 4.2): GB/s(x) = a log2(x)^2 + b log2(x) + c, x in MB,
/// from 1 KiB up, never above `max_gb_per_s`. Sampled four times per octave; where the fit would make a
/// larger message faster than a smaller one, both take the smaller one's time.
[[nodiscard]] LinkCurve fitted_link(double a, double b, double c, double max_gb_per_s);

}  // namespace tessera::planner
