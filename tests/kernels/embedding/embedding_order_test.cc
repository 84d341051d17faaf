// Held to what it promises, over random tokens: each token of the range once, rows ascending, t ascending
// within a row, strips of at most kStripTokens that cover the order without gap, slots used once each, by
// their sum.
#include "kernels/embedding/embedding_order.h"

#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"

namespace tessera::kernels {
namespace {

void expect_kept(const std::vector<std::int32_t>& tokens, std::int64_t first, std::int64_t rows) {
  const EmbeddingOrder order = embedding_order(tokens, first, rows);
  std::set<std::int32_t> seen;
  for (std::size_t i = 0; i < order.token.size(); ++i) {
    const std::int32_t t = order.token[i];
    const std::int64_t row = tokens.at(static_cast<std::size_t>(t)) - first;
    ASSERT_TRUE(0 <= row && row < rows);
    ASSERT_TRUE(seen.insert(t).second);
    if (i == 0) continue;
    const std::int32_t before = order.token[i - 1];
    const std::int64_t row_before = tokens[static_cast<std::size_t>(before)] - first;
    ASSERT_TRUE(row_before < row || (row_before == row && before < t)) << i;
  }
  std::size_t in_range = 0;
  for (const std::int32_t token : tokens) in_range += first <= token && token < first + rows ? 1 : 0;
  ASSERT_EQ(seen.size(), in_range);

  std::int32_t at = 0;
  std::int64_t slots = 0;
  std::size_t sum = 0;
  for (std::size_t i = 0; i < order.strips.size(); ++i) {
    const EmbeddingStrip& strip = order.strips[i];
    ASSERT_EQ(strip.begin, at);
    ASSERT_TRUE(1 <= strip.count && strip.count <= kStripTokens);
    for (std::int32_t j = 0; j < strip.count; ++j) {
      const std::int32_t t = order.token.at(static_cast<std::size_t>(at + j));
      ASSERT_EQ(tokens[static_cast<std::size_t>(t)] - first, strip.row);
    }
    at += strip.count;
    const bool alone = (i == 0 || order.strips[i - 1].row != strip.row) &&
                       (i + 1 == order.strips.size() || order.strips[i + 1].row != strip.row);
    ASSERT_EQ(strip.slot == -1, alone) << i;
    if (alone) continue;
    ASSERT_EQ(strip.slot, slots++);
    if (i == 0 || order.strips[i - 1].row != strip.row) {
      ASSERT_EQ(order.sums.at(sum).row, strip.row);
      ASSERT_EQ(order.sums[sum].first_slot, strip.slot);
      ++sum;
    }
    ASSERT_EQ(order.sums[sum - 1].first_slot + order.sums[sum - 1].slots > strip.slot, true);
  }
  ASSERT_EQ(at, std::ssize(order.token));
  ASSERT_EQ(slots, order.slots);
  ASSERT_EQ(sum, order.sums.size());
  std::int64_t summed = 0;
  for (const EmbeddingSum& s : order.sums) summed += s.slots;
  ASSERT_EQ(summed, order.slots);
}

TEST(EmbeddingOrder, TheExampleOfTheHeader) {
  const std::vector<std::int32_t> tokens{7, 3, 7, 9};
  const EmbeddingOrder order = embedding_order(tokens, 4, 6);
  EXPECT_EQ(order.token, (std::vector<std::int32_t>{0, 2, 3}));
  ASSERT_EQ(order.strips.size(), 2U);
  EXPECT_EQ(order.strips[0].row, 3);
  EXPECT_EQ(order.strips[0].count, 2);
  EXPECT_EQ(order.strips[1].row, 5);
  EXPECT_EQ(order.strips[1].begin, 2);
  EXPECT_TRUE(order.sums.empty());
  EXPECT_EQ(order.slots, 0);
}

TEST(EmbeddingOrder, KeepsItsPromisesOnRandomTokens) {
  for (std::uint64_t key = 0; key < 200; ++key) {
    const auto draw = [&](std::uint64_t i) { return uniform(key, i); };
    const auto n = static_cast<std::int64_t>(draw(0) * 500);
    const auto vocabulary = 1 + static_cast<std::int64_t>(draw(1) * 60);
    std::vector<std::int32_t> tokens;
    for (std::int64_t t = 0; t < n;
         ++t) {  // cubed: low tokens are frequent, so that some rows need several strips
      const double u = draw(static_cast<std::uint64_t>(10 + t));
      tokens.push_back(static_cast<std::int32_t>(u * u * u * static_cast<double>(vocabulary)));
    }
    const auto first = static_cast<std::int64_t>(draw(2) * static_cast<double>(vocabulary));
    expect_kept(tokens, 0, vocabulary);
    expect_kept(tokens, first, (vocabulary - first) / 2);
  }
}

}  // namespace
}  // namespace tessera::kernels
