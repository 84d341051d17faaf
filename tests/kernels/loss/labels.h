/// Labels of a loss: random, every fifth from the fourth on ignored.
#pragma once

#include <cstdint>
#include <vector>

#include "algos/base/random.h"
#include "kernels/loss/cross_entropy.h"

namespace tessera::testing_support {

inline std::vector<std::int32_t> labels(std::int64_t tokens, std::int64_t vocabulary) {
  std::vector<std::int32_t> out;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const double u = uniform(5, static_cast<std::uint64_t>(t));
    out.push_back(t % 5 == 3 ? kernels::kIgnoredLabel
                             : static_cast<std::int32_t>(u * static_cast<double>(vocabulary)));
  }
  return out;
}

}  // namespace tessera::testing_support
