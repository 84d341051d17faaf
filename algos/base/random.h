/// Counter-based random numbers: a pure function of (key, counter), so any rank draws the same value
/// for the same thing, in any order, with nothing to store.
///
/// splitmix64 finaliser: Steele, Lea & Flood, OOPSLA 2014. Passes BigCrush as a sequence of counters.
#pragma once

#include <cmath>
#include <cstdint>

namespace tessera {

[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// A key for a named sub-stream of `key`.
[[nodiscard]] constexpr std::uint64_t derive_key(std::uint64_t key, std::uint64_t stream) {
  return mix64(key ^ mix64(stream));
}

/// Uniform in [0, 1), 53 bits.
[[nodiscard]] constexpr double uniform(std::uint64_t key, std::uint64_t counter) {
  return static_cast<double>(mix64(key ^ mix64(counter)) >> 11) * 0x1.0p-53;
}

/// Standard normal, by Box-Muller on two counters.
[[nodiscard]] inline double normal(std::uint64_t key, std::uint64_t counter) {
  const double u = 1.0 - uniform(key, 2 * counter);  // (0, 1]
  const double v = uniform(key, 2 * counter + 1);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
}

}  // namespace tessera
