/// The Lyndon array from suffix ranks, inside the array that holds the ranks.
///
///   rank[i]  place of the suffix t[i..n) among all suffixes; any distinct values in 1..n of that order
///   NSV(i)   the first j > i with rank[j] < rank[i], or n
///   lyn[i] = NSV(i) - i = length of the longest Lyndon word that starts at i
///   (a Lyndon word is smaller than each of its proper suffixes)
///
/// Example   t = "banana", ranks 4 3 6 2 5 1  ->  lyn 1 2 1 2 1 1
/// Limits    n <= max(R): the ranks must fit their type.
/// Cost      constant extra space; O(n) time while n <= max(R)/2. Above that no bit is free to mark a cell
///           and each entry is scanned for: sum of lyn, up to n^2/2 (16-bit ranks: n <= 65535, so bounded).
/// Source    the identity: Franek, Islam, Rahman & Smyth 2016. The published scan (arXiv:2512.20869) runs
///           left to right and is quadratic on increasing texts; the linear pass here is our own.
#pragma once

#include <concepts>
#include <cstddef>
#include <limits>
#include <span>

namespace tessera::strings {

namespace internal {

/// Each entry looks ahead for its smaller rank. Cells to the right of i are still ranks, so one array serves.
template <std::unsigned_integral R>
void lyndon_by_scan(std::span<R> cells) noexcept {
  const std::size_t n = cells.size();
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t j = i + 1;
    while (j < n && cells[j] > cells[i]) ++j;
    cells[i] = static_cast<R>(j - i);
  }
}

/// Right to left over a stack of positions whose NSV is still open: i+1, NSV(i+1), NSV(NSV(i+1)), ...
/// A cell on the stack holds its rank, a cell off it holds its length, and the top bit tells which. The
/// element below `top` is not stored: it is NSV(top), reached from top+1 by hopping over finished lengths,
/// because the cells in between were all closed when `top` came. Those hops visit the children of `top` in
/// the tree of NSV once, when `top` leaves the stack, so all hops together are at most n.
template <std::unsigned_integral R>
void lyndon_by_marks(std::span<R> cells) noexcept {
  constexpr R kClosed = static_cast<R>(R{1} << (std::numeric_limits<R>::digits - 1));
  constexpr R kValue = static_cast<R>(kClosed - 1);
  const std::size_t n = cells.size();
  std::size_t top = n;
  const auto close_top = [&] {
    std::size_t below = top + 1;
    while (below < n && (cells[below] & kClosed) != 0) below += cells[below] & kValue;
    cells[top] = static_cast<R>(kClosed | static_cast<R>(below - top));
    return below;
  };
  for (std::size_t i = n; i-- > 0; top = i) {
    while (top < n && cells[top] > cells[i]) top = close_top();
  }
  while (top < n) top = close_top();
  for (R& cell : cells) cell &= kValue;
}

}  // namespace internal

template <std::unsigned_integral R>
void lyndon_array_from_ranks(std::span<R> ranks) noexcept {
  if (ranks.size() <= std::numeric_limits<R>::max() / 2) {
    internal::lyndon_by_marks(ranks);
  } else {
    internal::lyndon_by_scan(ranks);
  }
}

}  // namespace tessera::strings
