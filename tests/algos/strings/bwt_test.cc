// The two methods against each other and against libdivsufsort called directly, and what kAuto chooses.
#include "algos/strings/bwt.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "algos/strings/inverse_bwt.h"
#include "tests/algos/strings/strings_oracle.h"

namespace tessera::strings {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes random_bytes(std::size_t n, unsigned sigma, unsigned seed) {
  std::mt19937 random(seed);
  Bytes text(n);
  for (auto& c : text) c = static_cast<std::uint8_t>(random() % sigma);
  return text;
}

TEST(Bwt, MethodsAgreeOnEachShortText) {
  if (!has_linear_method()) GTEST_SKIP() << "this build has no libdivsufsort";
  for_each_text(3, 7, [](const std::vector<int>& numbers) {
    const Bytes text = with_symbols<std::uint8_t>(numbers, {0, 128, 255});
    const auto expected = oracle_bwt(text);
    const auto lyndon = oracle_lyndon(text);
    Bytes alone = text, both = text;
    std::vector<std::uint32_t> lyn(text.size());
    ASSERT_EQ(bwt(alone, Method::kLinear).value(), expected.primary);
    ASSERT_EQ(alone, expected.bwt);
    ASSERT_EQ(bwt_lyndon(both, lyn, Method::kLinear).value(), expected.primary);
    ASSERT_EQ(both, expected.bwt);
    ASSERT_TRUE(std::equal(lyn.begin(), lyn.end(), lyndon.begin(), lyndon.end()));
  });
}

TEST(Bwt, MethodsAgreeOnLongTextsAndInvert) {
  if (!has_linear_method()) GTEST_SKIP() << "this build has no libdivsufsort";
  for (const unsigned sigma : {1U, 2U, 4U, 256U}) {
    for (const std::size_t n : {1000U, 4097U, 12000U}) {
      const Bytes text = random_bytes(n, sigma, sigma + static_cast<unsigned>(n));
      Bytes slow = text, fast = text, alone = text;
      std::vector<std::uint32_t> slow_lyn(n), fast_lyn(n);
      const auto primary = bwt_lyndon(slow, slow_lyn, Method::kInPlace).value();
      ASSERT_EQ(bwt_lyndon(fast, fast_lyn, Method::kLinear).value(), primary);
      ASSERT_EQ(bwt(alone, Method::kLinear).value(), primary);
      ASSERT_EQ(slow, fast);
      ASSERT_EQ(slow, alone);
      ASSERT_EQ(slow_lyn, fast_lyn);
      ASSERT_EQ(inverse_bwt(std::span<const std::uint8_t>(slow), primary).value(), text);
    }
  }
}

TEST(Bwt, AutoNeverTakesTheQuadraticMethodForALongText) {
  EXPECT_EQ(chosen_method(kCrossoverLyndon, true), Method::kInPlace);
  EXPECT_EQ(chosen_method(kAutoLimitWithoutLinear + 1, false), Method::kLinear);
  EXPECT_EQ(chosen_method(kAutoLimitWithoutLinear + 1, true), Method::kLinear);
  if (!has_linear_method()) GTEST_SKIP() << "this build has no libdivsufsort";
  EXPECT_EQ(chosen_method(kCrossoverBwt + 1, false), Method::kLinear);
  // Quadratic, 1 MB would take a minute.
  const Bytes text = random_bytes(1U << 20, 4, 1);
  Bytes transform = text;
  std::vector<std::uint32_t> lyn(text.size());
  const auto primary = bwt_lyndon(transform, lyn).value();
  EXPECT_EQ(inverse_bwt(std::span<const std::uint8_t>(transform), primary).value(), text);
}

TEST(InverseBwt, RefusesAnIndexOutOfRange) {
  const Bytes transform = {'a', 'b'};
  const std::span<const std::uint8_t> view(transform);
  EXPECT_EQ(inverse_bwt(view, 0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(inverse_bwt(view, 3).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(inverse_bwt(view.first(0), 1).status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(inverse_bwt(view.first(0), 0).value().empty());
}

TEST(InverseBwt, AcceptsExactlyTheTransforms) {
  // Each pair (symbols, index) over two symbols: the transform of the text it gives, or refused. Counted: as
  // many accepted as there are texts.
  std::size_t accepted = 0, texts = 0;
  for_each_text(2, 9, [&](const std::vector<int>& numbers) {
    const Bytes transform = with_symbols<std::uint8_t>(numbers, {'a', 'b'});
    ++texts;
    if (transform.empty()) {
      ++accepted;
      return;
    }
    for (std::size_t p = 1; p <= transform.size(); ++p) {
      const auto text = inverse_bwt(std::span<const std::uint8_t>(transform), p);
      Bytes generic(transform.size());
      const Status same = inverse_bwt(std::span<const std::uint8_t>(transform), p, std::span(generic));
      ASSERT_EQ(same.code(), text.status().code());
      if (!text.ok()) {
        ASSERT_EQ(text.status().code(), Code::kDataLoss);
        continue;
      }
      ++accepted;
      ASSERT_EQ(generic, text.value());
      const auto expected = oracle_bwt(text.value());
      ASSERT_EQ(expected.bwt, transform);
      ASSERT_EQ(expected.primary, p);
    }
  });
  EXPECT_EQ(accepted, texts);
}

}  // namespace
}  // namespace tessera::strings
