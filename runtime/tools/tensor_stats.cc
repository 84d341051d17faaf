#include "runtime/tools/tensor_stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <xxhash.h>

#include <fmt/format.h>

namespace tessera::runtime {

static_assert(std::endian::native == std::endian::little,
              "the checksum is of the values as they lie in memory");

TensorStats tensor_stats(std::span<const float> values) {
  TensorStats stats;
  double sum = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++stats.non_finite;
      continue;
    }
    stats.min = stats.finite == 0 ? value : std::min(stats.min, value);
    stats.max = stats.finite == 0 ? value : std::max(stats.max, value);
    sum += value;
    ++stats.finite;
  }
  if (stats.finite > 0) stats.mean = sum / static_cast<double>(stats.finite);
  stats.xxh64 = fmt::format("{:016x}", XXH64(values.data(), values.size_bytes(), 0));
  return stats;
}

}  // namespace tessera::runtime
