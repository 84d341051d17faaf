/// Lyndon factorisation, least rotation and cyclic period: O(n) compares, O(1) extra space, any ordered
/// symbols.
///
///   Each text is one product of Lyndon words that never increase: t = w1 w2 ... wk, w1 >= w2 >= ... >= wk.
///   Least rotation: the smallest start s for which t[s..n) t[0..s) is minimal among all rotations.
///   Cyclic period: the smallest d > 0 that divides n with t[i] = t[(i + d) mod n]; 0 for an empty text.
///
/// Example   "banana" = b . an . an . a; least rotation 5 ("abanan"), cyclic period 6.
///           Two ring orders of ranks are the same ring when their least rotations are equal texts.
/// Source    Duval 1983; Shiloach 1981 for the least rotation. With a Lyndon array at hand the factors are
///           read off: for (i = 0; i < n; i += lyn[i]).
#pragma once

#include <cstddef>
#include <functional>
#include <span>

namespace tessera::strings {

/// Calls factor(start, length) for each Lyndon factor, from left to right.
template <class T, class Factor, class Less = std::less<>>
void for_each_lyndon_factor(std::span<const T> text, Factor factor, Less less = {}) {
  const std::size_t n = text.size();
  std::size_t start = 0;
  while (start < n) {
    // text[start..j) is a power of a Lyndon word of length j - k, and a prefix of that word.
    std::size_t j = start + 1;
    std::size_t k = start;
    while (j < n && !less(text[j], text[k])) {
      k = less(text[k], text[j]) ? start : k + 1;
      ++j;
    }
    const std::size_t length = j - k;
    for (; start <= k; start += length) factor(start, length);
  }
}

template <class T, class Less = std::less<>>
std::size_t least_rotation(std::span<const T> text, Less less = {}) {
  const std::size_t n = text.size();
  // Two candidate starts i and j that agree on k symbols; the loser and the k starts after it cannot win.
  std::size_t i = 0;
  std::size_t j = 1;
  std::size_t k = 0;
  const auto at = [&](std::size_t from, std::size_t offset) -> const T& {
    const std::size_t index = from + offset;
    return text[index < n ? index : index - n];
  };
  while (i < n && j < n && k < n) {
    const T& a = at(i, k);
    const T& b = at(j, k);
    if (less(a, b)) {
      j += k + 1;
      k = 0;
    } else if (less(b, a)) {
      i += k + 1;
      k = 0;
    } else {
      ++k;
      continue;
    }
    if (i == j) ++j;
  }
  return n == 0 ? 0 : (i < j ? i : j);
}

template <class T, class Less = std::less<>>
std::size_t cyclic_period(std::span<const T> text, Less less = {}) {
  const std::size_t n = text.size();
  if (n == 0) return 0;
  // Rotated to its least rotation the text is a power of one Lyndon word, whose length Duval's loop finds.
  const std::size_t start = least_rotation(text, less);
  const auto at = [&](std::size_t index) -> const T& {
    return text[start + index < n ? start + index : start + index - n];
  };
  std::size_t k = 0;
  std::size_t j = 1;
  for (; j < n; ++j) k = less(at(k), at(j)) ? 0 : k + 1;
  return j - k;
}

}  // namespace tessera::strings
