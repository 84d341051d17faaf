#include "planner/spec/link_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algos/base/require.h"

namespace tessera::planner {

double LinkCurve::seconds(double bytes) const {
  if (!(bytes > 0)) return 0;
  if (points.empty()) return std::numeric_limits<double>::infinity();
  const auto above = std::upper_bound(points.begin(), points.end(), bytes,
                                      [](double x, const LinkPoint& point) { return x < point.bytes; });
  if (above == points.begin()) return points.front().seconds;
  const LinkPoint& left = *(above - 1);
  if (above == points.end()) return left.seconds + (bytes - left.bytes) / bytes_per_s();
  return left.seconds + (bytes - left.bytes) / (above->bytes - left.bytes) * (above->seconds - left.seconds);
}

double LinkCurve::bytes_per_s() const {
  if (points.empty()) return 0;
  const LinkPoint& last = points.back();
  if (points.size() > 1) {
    const LinkPoint& before = points[points.size() - 2];
    if (last.seconds > before.seconds) return (last.bytes - before.bytes) / (last.seconds - before.seconds);
  }
  return last.seconds > 0 ? last.bytes / last.seconds : std::numeric_limits<double>::infinity();
}

double LinkCurve::least_seconds_per_byte() const {
  // On a straight piece the quotient is monotone, so it is least at a point or far out.
  if (points.empty()) return std::numeric_limits<double>::infinity();
  double least = 1 / bytes_per_s();
  for (const LinkPoint& point : points) {
    if (point.bytes > 0) least = std::min(least, point.seconds / point.bytes);
  }
  return least;
}

LinkCurve affine_link(double latency_s, double bytes_per_s) {
  TS_REQUIRE(latency_s >= 0 && bytes_per_s > 0, latency_s, bytes_per_s);
  constexpr double kFar = 1e9;
  return {{{0, latency_s}, {kFar, latency_s + kFar / bytes_per_s}}};
}

LinkCurve fitted_link(double a, double b, double c, double max_gb_per_s) {
  TS_REQUIRE(max_gb_per_s > 0, max_gb_per_s);
  constexpr double kMegabyte = 1e6;
  constexpr int kFirst = -40;  // quarter octaves of one megabyte: 1 KB
  constexpr int kLast = 56;    // 16 GB
  LinkCurve curve;
  double fastest = 0;  // GB/s seen on the way up: beyond its top a concave fit says nothing
  for (int step = kFirst; step <= kLast; ++step) {
    const double octave = step / 4.0;
    const double fit = std::min((a * octave + b) * octave + c, max_gb_per_s);
    // Far below the measured sizes a quadratic in the logarithm may rise again or be negative: take latency.
    const bool rising = 2 * a * octave + b > 0;
    fastest = octave > 0 ? std::max(fastest, fit) : fit;
    const double rate = octave > 0 ? fastest : fit;
    const double bytes = kMegabyte * std::exp2(octave);
    if (octave < 0 && (!rising || rate <= 0)) continue;
    const double seconds = bytes / (std::max(rate, 1e-6) * 1e9);
    curve.points.push_back({bytes, seconds});
  }
  TS_REQUIRE(!curve.points.empty(), a, b, c);
  // From the largest size down: no smaller message is slower.
  for (std::size_t i = curve.points.size() - 1; i > 0; --i) {
    curve.points[i - 1].seconds = std::min(curve.points[i - 1].seconds, curve.points[i].seconds);
  }
  return curve;
}

}  // namespace tessera::planner
