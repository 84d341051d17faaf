#include "runtime/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "algos/base/require.h"

namespace tessera::runtime {

Result<LrSchedule::Shape> parse_lr_shape(std::string_view text) {
  if (text == "constant") return LrSchedule::Shape::kConstant;
  if (text == "linear") return LrSchedule::Shape::kLinear;
  if (text == "cosine") return LrSchedule::Shape::kCosine;
  if (text == "wsd") return LrSchedule::Shape::kWsd;
  return bad_input({"", "schedule", std::string(text), "cosine | linear | wsd | constant", ""});
}

double learning_rate(const LrSchedule& s, std::int64_t step) {
  TS_REQUIRE(step >= 1, step);
  if (step <= s.warmup) return s.peak * static_cast<double>(step) / static_cast<double>(s.warmup);
  const auto share = [&](double begin) {  // of the way from `begin` to the last step
    const double length = static_cast<double>(s.steps) - begin;
    return length <= 0 ? 1.0 : std::clamp((static_cast<double>(step) - begin) / length, 0.0, 1.0);
  };
  const double warmup = static_cast<double>(s.warmup);
  switch (s.shape) {
    case LrSchedule::Shape::kConstant: return s.peak;
    case LrSchedule::Shape::kLinear: return s.min + (s.peak - s.min) * (1 - share(warmup));
    case LrSchedule::Shape::kCosine:
      return s.min + (s.peak - s.min) * (1 + std::cos(std::numbers::pi * share(warmup))) / 2;
    case LrSchedule::Shape::kWsd: {
      const double decay = std::round(s.decay_fraction * static_cast<double>(s.steps));
      return s.min + (s.peak - s.min) * (1 - share(std::max(warmup, static_cast<double>(s.steps) - decay)));
    }
  }
  return s.peak;
}

}  // namespace tessera::runtime
