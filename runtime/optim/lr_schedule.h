/// The learning rate as a pure function of the step.
///
///   step       1 .. warmup                      peak * step / warmup
///   constant   after                            peak
///   linear     after, reaching min at `steps`   min + (peak - min) * (1 - p)
///   cosine     after, reaching min at `steps`   min + (peak - min) * (1 + cos(pi p)) / 2
///   wsd        peak, then linear over the last decay_fraction * steps steps to min
///   p = (step - warmup) / (steps - warmup)
///
/// Loshchilov & Hutter 2017, arXiv:1608.03983 (cosine); Hu et al. 2024, arXiv:2404.06395 (wsd).
/// Example    peak 1, min 0.1, warmup 2, steps 6, linear: 0.5, 1, 0.775, 0.55, 0.325, 0.1.
#pragma once

#include <cstdint>
#include <string_view>

#include "algos/base/status.h"

namespace tessera::runtime {

struct LrSchedule {
  enum class Shape : std::uint8_t { kConstant, kLinear, kCosine, kWsd };
  Shape shape = Shape::kCosine;
  double peak = 1e-3;
  double min = 0;
  std::int64_t warmup = 0;  // steps
  std::int64_t steps = 1;
  double decay_fraction = 0.2;  // of `steps`; kWsd
};

[[nodiscard]] Result<LrSchedule::Shape> parse_lr_shape(std::string_view text);

/// Steps count from 1; beyond `steps` the rate stays at its last value.
[[nodiscard]] double learning_rate(const LrSchedule& schedule, std::int64_t step);

}  // namespace tessera::runtime
