/// What one look at a tensor's values tells: its range, its mean, what is no number, and a checksum by which
/// two tensors compare across files, containers and machines.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace tessera::runtime {

struct TensorStats {
  float min = 0;  // of the finite values; all three are 0 when there is none
  float max = 0;
  double mean = 0;
  std::int64_t finite = 0;
  std::int64_t non_finite = 0;  // infinities and NaN
  std::string xxh64;            // of the values as little-endian fp32, whatever type they were stored in
};
/// One pass; the sum is taken in double.
[[nodiscard]] TensorStats tensor_stats(std::span<const float> values);

}  // namespace tessera::runtime
