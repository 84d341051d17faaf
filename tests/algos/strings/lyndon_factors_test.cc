// Factors, rotations and periods against their definitions, on each short text.
#include "algos/strings/lyndon_factors.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/strings/bwt_in_place.h"
#include "tests/algos/strings/strings_oracle.h"

namespace tessera::strings {
namespace {

std::vector<int> rotated(std::vector<int> text, std::size_t by) {
  std::rotate(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(by), text.end());
  return text;
}

void check(const std::vector<int>& text) {
  const std::span<const int> view(text);
  std::size_t end = 0;
  std::vector<std::size_t> starts;
  std::vector<int> last;
  for_each_lyndon_factor(view, [&](std::size_t start, std::size_t length) {
    ASSERT_EQ(start, end);
    ASSERT_GT(length, 0U);
    const std::vector<int> factor(text.begin() + start, text.begin() + start + length);
    ASSERT_TRUE(is_lyndon(factor.data(), factor.data() + length));
    if (start > 0) {
      ASSERT_LE(factor, last);
    }
    last = factor;
    starts.push_back(start);
    end = start + length;
  });
  ASSERT_EQ(end, text.size());

  std::vector<int> moved = text;
  std::vector<std::uint32_t> lyn(text.size());
  ASSERT_TRUE(bwt_lyndon_in_place(std::span(moved), std::span(lyn)).ok());
  std::vector<std::size_t> from_array;
  for (std::size_t i = 0; i < text.size(); i += lyn[i]) from_array.push_back(i);
  ASSERT_EQ(starts, from_array);

  std::size_t best = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (rotated(text, i) < rotated(text, best)) best = i;
  }
  ASSERT_EQ(least_rotation(view), best);

  std::size_t period = text.empty() ? 0 : 1;
  while (period > 0 && rotated(text, period % text.size()) != text) ++period;
  ASSERT_EQ(cyclic_period(view), period);
}

TEST(LyndonFactors, EachShortText) {
  const std::size_t longest[] = {0, 12, 12, 8, 6};
  for (int sigma = 1; sigma <= 4; ++sigma) {
    for_each_text(sigma, longest[sigma], check);
    if (HasFatalFailure()) return;
  }
}

TEST(LyndonFactors, ByAnOrderOfTheUsers) {
  const std::vector<std::string> ring = {"r2", "r10", "r1"};
  const auto by_length = [](const std::string& a, const std::string& b) { return a.size() < b.size(); };
  // r2 and r1 are equal here: rotations read 2 3 2, 3 2 2 and 2 2 3.
  EXPECT_EQ(least_rotation(std::span<const std::string>(ring), by_length), 2U);
  std::vector<std::size_t> starts;
  for_each_lyndon_factor(
      std::span<const std::string>(ring), [&](std::size_t start, std::size_t) { starts.push_back(start); },
      std::greater<>());
  EXPECT_EQ(starts, (std::vector<std::size_t>{0}));  // falling order: r2 is first, so one Lyndon word
}

}  // namespace
}  // namespace tessera::strings
