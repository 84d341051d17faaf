/// Brute force for the string algorithms: definitions, written down.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

namespace tessera::strings {

template <class T>
struct Transform {
  std::vector<T> bwt;
  std::size_t primary = 0;
};

template <class T, class Less = std::less<>>
Transform<T> oracle_bwt(const std::vector<T>& text, Less less = {}) {
  std::vector<std::size_t> rows(text.size() + 1);
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(text.begin() + a, text.end(), text.begin() + b, text.end(), less);
  });
  Transform<T> out;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    if (rows[k] == 0) {
      out.primary = k;
    } else {
      out.bwt.push_back(text[rows[k] - 1]);
    }
  }
  return out;
}

/// Smaller than each of its proper suffixes.
template <class T, class Less = std::less<>>
bool is_lyndon(const T* begin, const T* end, Less less = {}) {
  for (const T* suffix = begin + 1; suffix < end; ++suffix) {
    if (!std::lexicographical_compare(begin, end, suffix, end, less)) return false;
  }
  return true;
}

template <class T, class Less = std::less<>>
std::vector<std::size_t> oracle_lyndon(const std::vector<T>& text, Less less = {}) {
  std::vector<std::size_t> lengths;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::size_t length = text.size() - i;
    while (!is_lyndon(text.data() + i, text.data() + i + length, less)) --length;
    lengths.push_back(length);
  }
  return lengths;
}

/// Calls f(text) for each text over 0..sigma-1 of length 0..longest.
template <class F>
void for_each_text(int sigma, std::size_t longest, F f) {
  for (std::size_t n = 0; n <= longest; ++n) {
    std::vector<int> text(n, 0);
    for (;;) {
      f(text);
      std::size_t i = n;
      while (i > 0 && text[i - 1] == sigma - 1) text[--i] = 0;
      if (i == 0) break;
      ++text[i - 1];
    }
  }
}

template <class T>
std::vector<T> with_symbols(const std::vector<int>& text, const std::vector<T>& symbols) {
  std::vector<T> out;
  for (const int c : text) out.push_back(symbols[c]);
  return out;
}

}  // namespace tessera::strings
