/// The text from its Burrows-Wheeler transform (convention of bwt_in_place.h: `$` left out, its row is p).
///
///   start in row 0 (the empty suffix); the symbol there is the last of the text; then go to the row
///     LF(row) = 1 + #{symbols below it} + #{equal symbols above it}
///   of the suffix one longer, n times, and arrive in row p.
///
/// Limits    0 < p <= n, or p = 0 with n = 0.
/// Errors    kInvalidArgument when p is out of range; kDataLoss when row p comes too early, so that no text
/// has
///           this transform. Any other pair (bytes, p) is the transform of exactly one text.
/// Source    Burrows & Wheeler 1994.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "algos/base/require.h"
#include "algos/base/status.h"

namespace tessera::strings {

namespace internal {
Status check_primary(std::size_t length, std::size_t primary);
Status not_a_transform(std::size_t length, std::size_t primary, std::size_t symbols_read);
}  // namespace internal

/// Any symbols, no memory besides `text` (equal length, not overlapping `bwt`): O(n^2) compares.
template <class T, class Less = std::less<>>
Status inverse_bwt(std::span<const T> bwt, std::size_t primary, std::span<T> text, Less less = {}) {
  const std::size_t n = bwt.size();
  TS_REQUIRE(text.size() == n, text.size(), n);
  if (Status status = internal::check_primary(n, primary); !status.ok()) return status;
  std::size_t row = 0;
  for (std::size_t k = n; k-- > 0;) {
    if (row == primary) return internal::not_a_transform(n, primary, n - 1 - k);
    const std::size_t at = row < primary ? row : row - 1;
    const T& c = bwt[at];
    text[k] = c;
    row = 1;
    for (std::size_t i = 0; i < at; ++i) row += less(c, bwt[i]) ? 0 : 1;
    for (std::size_t i = at; i < n; ++i) row += less(bwt[i], c) ? 1 : 0;
  }
  return row == primary ? Status() : internal::not_a_transform(n, primary, n);
}

/// Bytes, any length: O(n) time, 4n bytes beside the result (8n from 2^32 - 1 symbols on).
/// Errors    as above, and kResourceExhausted when that memory is refused.
Result<std::vector<std::uint8_t>> inverse_bwt(std::span<const std::uint8_t> bwt, std::size_t primary);

}  // namespace tessera::strings
