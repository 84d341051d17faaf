/// Burrows-Wheeler transform and Lyndon array in place: no memory but a handful of scalars, any ordered
/// symbols.
///
///   Text t[0..n) over any strict weak order; the end of the text is a virtual symbol `$` below all others.
///   Sort the n+1 suffixes of t$ ("rows", the empty suffix is row 0). The transform is the symbol before each
///   suffix, in that order; `$`, which stands in the row of the whole text, is left out and its row returned:
///     text after = [ t[sa(k) - 1] : k = 0..n, sa(k) > 0 ],   returned p with sa(p) = 0
///   lyn[i] = length of the longest Lyndon word that starts at t[i] (lyndon_array.h).
///   The convention (bytes and p) is that of libdivsufsort's divbwt.
///
/// Example   "banana": text becomes "annbaa", p = 4, lyn = 1 2 1 2 1 1.
/// Method    right to left; the window w[0..m], m = n-s-1, holds t[s] and the transform of t[s+1..n):
///             r = 1 + #{1<=i<=p : w[i] <= c} + #{p<i<=m : w[i] < c},   c = w[0]      (row of suffix s)
///             w[1..p] moves one left, w[p] = c: the `$` of the shorter suffix becomes c
///             ranks of the suffixes behind s that are >= r grow by one; rank[s] = r; p = r
///           and after the last step the ranks become the Lyndon array where they stand.
/// Cost      O(n^2) compares, moves and rank updates; O(1) extra space; no heap, no recursion. Bytes with the
///           standard order count and update in vectors. QUADRATIC: at n = 2e5
///           bytes take about 1 s, with the Lyndon array some 4 s. Texts of unknown length belong in bwt.h,
///           which changes to a linear method by itself.
/// Limits    lyn.size() == text.size() (ours to keep: TS_REQUIRE). Ranks of type R need n <= max(R).
/// Errors    bwt_lyndon_in_place: kInvalidArgument when n does not fit R; text and lyn are then untouched.
///           If the order throws, text holds a permutation of its symbols and lyn is unspecified.
/// Source    arXiv:2512.20869. Ours: `$` is never stored (each byte value stays usable and a move is saved),
///           and the linear last pass.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "algos/base/require.h"
#include "algos/base/status.h"
#include "algos/strings/lyndon_array.h"

namespace tessera::strings {

namespace internal {

/// The loop of the contract. A null `ranks` asks for the transform alone.
template <class T, class R, class Less>
std::size_t bwt_and_ranks(std::span<T> text, R* ranks, Less& less) {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "a symbol lost half-way through a move could not be put back");
  const std::size_t n = text.size();
  std::size_t p = 0;
  for (std::size_t s = n; s-- > 0;) {
    T* const w = text.data() + s;
    const std::size_t m = n - s - 1;
    std::size_t r = 1;
    for (std::size_t i = 1; i <= p; ++i) r += less(std::as_const(w[0]), std::as_const(w[i])) ? 0 : 1;
    for (std::size_t i = p + 1; i <= m; ++i) r += less(std::as_const(w[i]), std::as_const(w[0])) ? 1 : 0;
    T c = std::move(w[0]);
    std::move(w + 1, w + p + 1, w);
    w[p] = std::move(c);
    if (ranks != nullptr) {
      for (std::size_t i = s + 1; i < n; ++i) ranks[i] = static_cast<R>(ranks[i] + (ranks[i] >= r ? 1 : 0));
      ranks[s] = static_cast<R>(r);
    }
    p = r;
  }
  return p;
}

/// The same loop in vectors, chosen for the processor at run time (bwt_bytes.cc).
std::size_t bwt_bytes(std::span<std::uint8_t> text) noexcept;
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint16_t* ranks) noexcept;
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint32_t* ranks) noexcept;
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint64_t* ranks) noexcept;

template <class T, class Less>
inline constexpr bool kPlainBytes = std::is_same_v<T, std::uint8_t> &&
                                    (std::is_same_v<Less, std::less<>> || std::is_same_v<Less, std::less<T>>);

}  // namespace internal

/// Returns p in 0..n.
template <class T, class Less = std::less<>>
std::size_t bwt_in_place(std::span<T> text,
                         Less less = {}) noexcept(std::is_nothrow_invocable_v<Less&, const T&, const T&>) {
  if constexpr (internal::kPlainBytes<T, Less>) {
    return internal::bwt_bytes(text);
  } else {
    return internal::bwt_and_ranks<T, std::uint32_t>(text, nullptr, less);
  }
}

/// Returns p in 0..n; `lyn` becomes the Lyndon array of the text that was.
template <class T, class R, class Less = std::less<>>
requires std::same_as<R, std::uint16_t> || std::same_as<R, std::uint32_t> || std::same_as<R, std::uint64_t>
    Result<std::size_t> bwt_lyndon_in_place(std::span<T> text, std::span<R> lyn, Less less = {}) {
  TS_REQUIRE(lyn.size() == text.size(), lyn.size(), text.size());
  if (text.size() > std::numeric_limits<R>::max()) {
    return bad_input({"", "text", std::to_string(text.size()) + " symbols",
                      "at most " + std::to_string(std::numeric_limits<R>::max()) + " with ranks of " +
                          std::to_string(std::numeric_limits<R>::digits) + " bits",
                      "give the Lyndon array a wider type"});
  }
  std::size_t p = 0;
  if constexpr (internal::kPlainBytes<T, Less>) {
    p = internal::bwt_and_ranks_bytes(text, lyn.data());
  } else {
    p = internal::bwt_and_ranks<T, R>(text, lyn.data(), less);
  }
  lyndon_array_from_ranks(lyn);
  return p;
}

}  // namespace tessera::strings
