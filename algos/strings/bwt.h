/// Burrows-Wheeler transform and Lyndon array of bytes, of any length, by the method that fits the length.
///
/// Same results and convention as bwt_in_place.h, and as libdivsufsort's divbwt.
///   kInPlace  arXiv:2512.20869: no memory, O(n^2). Fastest for records to about 1 KiB.
///   kLinear   libdivsufsort: O(n log n) with the speed of a linear method, 4n bytes and a 256 KiB table.
///   kAuto     kInPlace up to the measured crossover below, kLinear beyond.
///
/// Limits    kLinear: n <= 2^31 - 1 (libdivsufsort's index). lyn.size() == text.size() (TS_REQUIRE).
/// Errors    kFailedPrecondition: kLinear is needed and this build has no libdivsufsort. kAuto needs it only
///           above kAutoLimitWithoutLinear, where the quadratic method takes about half a second.
///           kInvalidArgument: too long for the method. kResourceExhausted: memory refused. The text is
///           untouched in all of these.
/// Source    Mori, libdivsufsort 2.0.1 (as packaged by Debian).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "algos/base/status.h"

namespace tessera::strings {

enum class Method : std::uint8_t { kAuto, kInPlace, kLinear };

/// Longest texts for which the in-place method is the faster one (docs/strings.md; strings-bench repeats the
/// measurement). With a slower or a faster vector unit the true point moves; results do not depend on it.
inline constexpr std::size_t kCrossoverBwt = 2048;
inline constexpr std::size_t kCrossoverLyndon = 1280;
inline constexpr std::size_t kAutoLimitWithoutLinear = 65536;

/// Whether this build found libdivsufsort.
[[nodiscard]] bool has_linear_method() noexcept;

/// What kAuto means for a text of n bytes.
[[nodiscard]] Method chosen_method(std::size_t n, bool with_lyndon) noexcept;

/// `text` becomes its transform; returns the primary index p in 0..n.
Result<std::size_t> bwt(std::span<std::uint8_t> text, Method method = Method::kAuto);

/// The same, and `lyn` becomes the Lyndon array of the text that was.
Result<std::size_t> bwt_lyndon(std::span<std::uint8_t> text, std::span<std::uint32_t> lyn,
                               Method method = Method::kAuto);

}  // namespace tessera::strings
