/// Exact comparison of profit per weight, and the floor of a scaled ratio, in 128-bit integers.
#pragma once

#include <cstdint>

namespace tessera::knapsack {

__extension__ using Int128 = __int128;

/// num / den with den >= 0. 1 / 0 is "more than any ratio".
struct Ratio {
  std::int64_t num = 0;
  std::int64_t den = 1;
};

[[nodiscard]] constexpr bool greater(Ratio a, Ratio b) {
  return Int128{a.num} * b.den > Int128{b.num} * a.den;
}

/// Rounds towards minus infinity; den > 0.
[[nodiscard]] constexpr Int128 floor_div(Int128 num, Int128 den) {
  const Int128 quotient = num / den;
  return num % den != 0 && num < 0 ? quotient - 1 : quotient;
}

}  // namespace tessera::knapsack
