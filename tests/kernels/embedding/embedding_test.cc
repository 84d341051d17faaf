// Forward copies, so it is exact. Backward adds at most T terms of size below 1 to one element, in float:
// the partial sums stay below T + 1, so the error is at most T (T + 1) u, u = 2^-24, and T <= 300 here with
// few repeats; the bound counts the repeats of each row.
#include "kernels/embedding/embedding.h"

#include <vector>

#include <gtest/gtest.h>

#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::expect_same_for_any_threads;
using testing_support::uniform_floats;

std::vector<std::int32_t> tokens_with_repeats(std::int64_t n, std::int64_t vocabulary) {
  std::vector<std::int32_t> out;
  for (std::int64_t t = 0; t < n; ++t) {
    const double u = uniform(9, static_cast<std::uint64_t>(t));
    out.push_back(static_cast<std::int32_t>(u * u * static_cast<double>(vocabulary)));  // low ones repeat
  }
  return out;
}

TEST(Embedding, ForwardCopiesRows) {
  for (const std::int64_t width : {1, 7, 64, 100}) {
    for (const std::int64_t tokens : {1, 5, 300}) {
      const auto table = uniform_floats(50 * width, 1);
      const auto token = tokens_with_repeats(tokens, 50);
      std::vector<float> y(static_cast<std::size_t>(tokens * width));
      embedding_forward(y.data(), table.data(), token.data(), tokens, width);
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t d = 0; d < width; ++d) {
          ASSERT_EQ(y[static_cast<std::size_t>(t * width + d)],
                    table[static_cast<std::size_t>(token[static_cast<std::size_t>(t)] * width + d)]);
        }
      }
    }
  }
}

TEST(Embedding, BackwardAddsEveryRepeatAndAgreesWithTheOracle) {
  constexpr std::int64_t kVocabulary = 20;
  for (const std::int64_t width : {1, 7, 64, 333}) {
    for (const std::int64_t tokens : {1, 5, 300}) {
      const auto dy = uniform_floats(tokens * width, 2);
      const auto start = uniform_floats(kVocabulary * width, 3);
      const auto token = tokens_with_repeats(tokens, kVocabulary);
      std::vector<double> repeats(kVocabulary, 1);
      for (const std::int32_t v : token) ++repeats[static_cast<std::size_t>(v)];
      std::vector<float> got = start;
      embedding_backward(got.data(), dy.data(), token.data(), tokens, width, kVocabulary);
      std::vector<double> want(start.begin(), start.end());
      embedding_backward_ref(want.data(), dy.data(), token.data(), tokens, width);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const double r = repeats[i / static_cast<std::size_t>(width)];
        ASSERT_NEAR(got[i], want[i], 0x1p-24 * r * r);
      }
    }
  }
}

TEST(Embedding, IsTheSameForAnyNumberOfThreads) {
  constexpr std::int64_t kTokens = 400;
  constexpr std::int64_t kWidth = 401;
  const auto dy = uniform_floats(kTokens * kWidth, 2);
  const auto token = tokens_with_repeats(kTokens, 30);
  expect_same_for_any_threads([&] {
    std::vector<float> table(30 * kWidth, 1.0F);
    embedding_backward(table.data(), dy.data(), token.data(), kTokens, kWidth, 30);
    std::vector<float> y(dy.size());
    embedding_forward(y.data(), table.data(), token.data(), kTokens, kWidth);
    return y;
  });
}

TEST(Embedding, NoTokensIsANoOp) {
  float table[4] = {1, 2, 3, 4};
  embedding_forward(nullptr, table, nullptr, 0, 4);
  embedding_backward(table, nullptr, nullptr, 0, 4, 1);
  EXPECT_EQ(table[3], 4);
}

TEST(Embedding, RefusesATokenOutsideTheTable) {
  float table[4] = {};
  const float dy[2] = {};
  for (const std::int32_t token : {-1, 2}) {
    EXPECT_DEATH(embedding_backward(table, dy, &token, 1, 2, 2), "vocabulary");
  }
}

}  // namespace
}  // namespace tessera::kernels
