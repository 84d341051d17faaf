// Transform and Lyndon array against sorted suffixes and the definition of Lyndon words.
#include "algos/strings/bwt_in_place.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/strings/inverse_bwt.h"
#include "algos/strings/lyndon_factors.h"
#include "tests/algos/strings/strings_oracle.h"
#include "tests/support/kernel_test.h"

namespace tessera::strings {
namespace {

struct Exhaustive {
  int sigma;
  std::size_t longest;
};
constexpr Exhaustive kExhaustive[] = {{1, 12}, {2, 13}, {3, 8}, {4, 6}};

template <class T, class R, class Less = std::less<>>
void check(const std::vector<T>& text, const Transform<T>& expected, const std::vector<std::size_t>& lyndon,
           Less less = {}) {
  std::vector<T> alone = text;
  ASSERT_EQ(bwt_in_place(std::span(alone), less), expected.primary);
  ASSERT_EQ(alone, expected.bwt);
  std::vector<T> both = text;
  std::vector<R> lyn(text.size());
  ASSERT_EQ(bwt_lyndon_in_place(std::span(both), std::span(lyn), less).value(), expected.primary);
  ASSERT_EQ(both, expected.bwt);
  ASSERT_TRUE(std::equal(lyn.begin(), lyn.end(), lyndon.begin(), lyndon.end()));
  std::vector<T> back(text.size());
  ASSERT_TRUE(inverse_bwt(std::span<const T>(both), expected.primary, std::span(back), less).ok());
  ASSERT_EQ(back, text);
}

template <class T, class R>
void check_exhaustively(const std::vector<T>& symbols) {
  for (const auto& [sigma, longest] : kExhaustive) {
    for_each_text(sigma, longest, [&, sigma = sigma](const std::vector<int>& numbers) {
      const std::vector<T> text = with_symbols(numbers, symbols);
      check<T, R>(text, oracle_bwt(text), oracle_lyndon(text));
      if (::testing::Test::HasFatalFailure()) FAIL() << "sigma " << sigma << ", n " << text.size();
    });
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// 31 698 texts each.
TEST(BwtInPlace, EachShortTextOfBytes) { check_exhaustively<std::uint8_t, std::uint32_t>({0, 1, 254, 255}); }
TEST(BwtInPlace, EachShortTextOfIntegers) {
  check_exhaustively<std::int64_t, std::uint16_t>({-(1LL << 62), -1, 7, 1LL << 62});
}
TEST(BwtInPlace, EachShortTextOfStrings) {
  check_exhaustively<std::string, std::uint64_t>(
      {"", "all_gather", "all_reduce, long enough for the heap", "b"});
}

TEST(BwtInPlace, ByAnOrderOfTheUsers) {
  const auto falling = std::greater<>();
  for_each_text(3, 7, [&](const std::vector<int>& text) {
    check<int, std::uint32_t>(text, oracle_bwt(text, falling), oracle_lyndon(text, falling), falling);
  });
  // An order that takes symbols for equal which are not: each keeps its own symbol.
  const auto tens = [](int a, int b) { return a / 10 < b / 10; };
  const std::vector<int> text = {13, 27, 11, 20, 15, 8, 31, 10};
  check<int, std::uint32_t>(text, oracle_bwt(text, tens), oracle_lyndon(text, tens), tens);
}

/// Shapes that stretch the counting, the moves or the last pass.
std::vector<std::vector<std::uint8_t>> hard_texts() {
  std::vector<std::vector<std::uint8_t>> texts;
  std::mt19937 random(7);
  for (const std::size_t n : {1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 80, 127, 129, 255, 257, 300}) {
    std::vector<std::uint8_t> equal(n, 255), rising(n), falling(n), periodic(n), two(n), many(n);
    for (std::size_t i = 0; i < n; ++i) {
      rising[i] = static_cast<std::uint8_t>(i * 255 / n);
      falling[i] = static_cast<std::uint8_t>(255 - rising[i]);
      periodic[i] = i % 2 == 0 ? 'a' : 'b';
      two[i] = random() % 2 == 0 ? 0 : 255;
      many[i] = static_cast<std::uint8_t>(random());
    }
    for (auto* text : {&equal, &rising, &falling, &periodic, &two, &many}) texts.push_back(*text);
  }
  std::vector<std::uint8_t> shorter = {'b'}, fibonacci = {'a'};
  while (fibonacci.size() < 233) {
    std::vector<std::uint8_t> longer = fibonacci;
    longer.insert(longer.end(), shorter.begin(), shorter.end());
    shorter = std::exchange(fibonacci, longer);
    texts.push_back(fibonacci);
  }
  return texts;
}

TEST(BwtInPlace, HardTextsOfBytesWithEachInstructionSet) {
  for (const auto& text : hard_texts()) {
    const auto expected = oracle_bwt(text);
    const auto lyndon = oracle_lyndon(text);
    testing_support::for_each_simd_target([&] {
      check<std::uint8_t, std::uint16_t>(text, expected, lyndon);
      check<std::uint8_t, std::uint32_t>(text, expected, lyndon);
      check<std::uint8_t, std::uint64_t>(text, expected, lyndon);
    });
    if (HasFatalFailure()) FAIL() << "n " << text.size();
  }
}

TEST(BwtInPlace, LongCountsDoNotOverflowAByteLane) {
  // All-equal bytes put every symbol in the count: 255 vectors of 64 bytes and more.
  testing_support::for_each_simd_target([&] {
    std::vector<std::uint8_t> text(20000, 9);
    std::vector<std::uint32_t> lyn(text.size());
    EXPECT_EQ(bwt_lyndon_in_place(std::span(text), std::span(lyn)).value(), 20000U);
    EXPECT_EQ(text, std::vector<std::uint8_t>(20000, 9));
    EXPECT_EQ(lyn, std::vector<std::uint32_t>(20000, 1));
  });
}

TEST(BwtInPlace, RanksThatDoNotFitAreRefusedAndNothingIsTouched) {
  std::vector<std::uint8_t> text(65536, 1);
  text[5] = 0;
  const auto before = text;
  std::vector<std::uint16_t> lyn(text.size(), 42);
  const auto refused = bwt_lyndon_in_place(std::span(text), std::span(lyn));
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_NE(refused.status().message().find("65535"), std::string::npos) << refused.status().message();
  EXPECT_EQ(text, before);
  EXPECT_EQ(lyn[0], 42);
}

TEST(LyndonArray, MarksAndScanAgreeOnRandomRanks) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<std::uint16_t> ranks(random() % 200);
    for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<std::uint16_t>(i + 1);
    std::shuffle(ranks.begin(), ranks.end(), random);
    auto scanned = ranks;
    internal::lyndon_by_scan(std::span(scanned));
    internal::lyndon_by_marks(std::span(ranks));
    ASSERT_EQ(ranks, scanned);
  }
}

TEST(LyndonArray, SixteenBitRanksAtTheirLimits) {
  // 32767 still has a free bit, 32768 and 65535 have none. Rising ranks: each entry reaches the end.
  for (const std::size_t n : {32767U, 32768U, 65535U}) {
    std::vector<std::uint16_t> cells(n);
    for (std::size_t i = 0; i < n; ++i) cells[i] = static_cast<std::uint16_t>(i + 1);
    lyndon_array_from_ranks(std::span(cells));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < n; ++i) wrong += cells[i] != n - i ? 1 : 0;
    EXPECT_EQ(wrong, 0U) << n;
  }
}

TEST(LyndonArray, LastPassIsLinearOnRisingTexts) {
  // The quadratic scan would take 2^43 steps here: the test would not end.
  std::vector<std::uint32_t> cells(1U << 22);
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<std::uint32_t>(i + 1);
  lyndon_array_from_ranks(std::span(cells));
  EXPECT_EQ(cells.front(), cells.size());
  EXPECT_EQ(cells.back(), 1U);
}

}  // namespace
}  // namespace tessera::strings
