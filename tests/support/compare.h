/// Comparison of float results with a double oracle, each element within its own error bound.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"

namespace tessera::testing {

/// Unit roundoff of float: the most that one rounding changes a value by, relatively.
inline constexpr double kFloatRounding = 0x1.0p-24;

/// |actual[i] - expected[i]| <= bound(i) for all i. Infinities must be equal and NaN never passes. A failure
/// names the element that exceeds its bound by most.
template <class Bound>
::testing::AssertionResult within(std::span<const float> actual, std::span<const double> expected,
                                  const Bound& bound) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure() << actual.size() << " elements, expected " << expected.size();
  }
  std::size_t wrong = 0;
  std::size_t worst = 0;
  double worst_ratio = -1;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (static_cast<double>(actual[i]) == expected[i]) continue;
    const double difference = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (difference <= bound(i)) continue;
    ++wrong;
    const double ratio = std::isfinite(difference) ? difference / (bound(i) + 1e-300) : HUGE_VAL;
    if (ratio > worst_ratio) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << wrong << " of " << actual.size() << " elements are off; worst at " << worst << ": "
         << actual[worst] << ", expected " << expected[worst] << " within " << bound(worst);
}

/// The same with one absolute bound for all.
inline ::testing::AssertionResult within(std::span<const float> actual, std::span<const double> expected,
                                         double bound) {
  return within(actual, expected, [bound](std::size_t) { return bound; });
}

/// Standard normal values times `scale`, a function of the key alone.
inline std::vector<float> normal_floats(std::int64_t count, std::uint64_t key, double scale = 1) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(scale * normal(key, i));
  return values;
}

}  // namespace tessera::testing
