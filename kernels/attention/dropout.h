/// The definition of which attention probabilities are dropped. Integer arithmetic on 32-bit lanes, so
/// scalar, SIMD and CUDA code agree exactly.
///
/// mix32 is the `lowbias32` finaliser found by Wellons 2018 (bias 0.17), two multiplications a draw.
#pragma once

#include <cstdint>

namespace tessera::kernels {

[[nodiscard]] constexpr std::uint32_t mix32(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

/// Once per (key, head, query): the row's own seed.
[[nodiscard]] constexpr std::uint32_t dropout_row_seed(std::uint64_t key, std::int32_t head,
                                                       std::int32_t q_position) {
  const auto low = static_cast<std::uint32_t>(key);
  const auto high = static_cast<std::uint32_t>(key >> 32);
  const std::uint32_t by_head = mix32(low ^ mix32(high + static_cast<std::uint32_t>(head)));
  return mix32(by_head ^ mix32(static_cast<std::uint32_t>(q_position) + 0x9e3779b9U));
}

/// Dropped iff the draw is below the threshold; threshold = floor(probability * 2^32).
[[nodiscard]] constexpr std::uint32_t dropout_threshold(float probability) {
  return static_cast<std::uint32_t>(static_cast<double>(probability) * 4294967296.0);
}

/// Once per key position. True: the probability stays and is scaled by 1 / (1 - p).
[[nodiscard]] constexpr bool dropout_keep(std::uint32_t row_seed, std::int32_t k_position,
                                          std::uint32_t threshold) {
  return mix32(row_seed ^ (static_cast<std::uint32_t>(k_position) * 0x9e3779b9U)) >= threshold;
}

}  // namespace tessera::kernels
