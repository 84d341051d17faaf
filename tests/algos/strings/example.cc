#include <cstdio>
#include <vector>

#include "algos/strings/bwt.h"

int main() {
  std::vector<std::uint8_t> text = {'b', 'a', 'n', 'a', 'n', 'a'};
  std::vector<std::uint32_t> lyndon(text.size());
  const auto row = tessera::strings::bwt_lyndon(text, lyndon);
  std::printf("%.6s, row %zu, first Lyndon factor %u\n", text.data(), row.value(), lyndon[0]);
}
