#include "runtime/attention/token_layout.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/attention/tile_assignment.h"

namespace tessera::runtime {
namespace {

constexpr TokenLayout kLayouts[] = {TokenLayout::kContiguous, TokenLayout::kZigzag, TokenLayout::kStriped};

TEST(TokenLayoutText, RoundTripAndRefusal) {
  for (const TokenLayout layout : kLayouts) {
    EXPECT_EQ(parse_token_layout(token_layout_name(layout)).value(), layout);
  }
  for (const char* text : {"", "Zigzag", "zig-zag", "stripe"}) {
    const auto parsed = parse_token_layout(text);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument);
    EXPECT_NE(parsed.status().message().find("contiguous, zigzag or striped"), std::string::npos);
  }
}

TEST(TokenLayout, DisjointCoverOfAnyLengthByAnyRanks) {
  std::vector<std::int64_t> lengths(70);
  std::iota(lengths.begin(), lengths.end(), 0);
  for (const std::int64_t more : {97, 128, 251, 1000, 4096, 4099}) lengths.push_back(more);
  for (const TokenLayout layout : kLayouts) {
    for (const std::int64_t tokens : lengths) {
      for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 24, 31, 64}) {
        SCOPED_TRACE(testing::Message() << token_layout_name(layout) << " " << tokens << " / " << ranks);
        std::vector<int> held(static_cast<std::size_t>(tokens), 0);
        std::int64_t least = tokens;
        std::int64_t most = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const auto positions = token_positions(layout, tokens, ranks, rank);
          ASSERT_EQ(static_cast<std::int64_t>(positions.size()), token_count(layout, tokens, ranks, rank));
          ASSERT_TRUE(std::is_sorted(positions.begin(), positions.end()));
          for (const std::int32_t t : positions) ++held.at(static_cast<std::size_t>(t));
          least = std::min<std::int64_t>(least, static_cast<std::int64_t>(positions.size()));
          most = std::max<std::int64_t>(most, static_cast<std::int64_t>(positions.size()));
        }
        ASSERT_TRUE(std::all_of(held.begin(), held.end(), [](int times) { return times == 1; }));
        // One token per range: zigzag ranks hold two ranges, the others one.
        ASSERT_LE(most - least, layout == TokenLayout::kZigzag ? 2 : 1);
      }
    }
  }
}

TEST(TokenLayout, DefinitionsOnAnExample) {
  EXPECT_EQ(token_positions(TokenLayout::kContiguous, 8, 2, 1), (std::vector<std::int32_t>{4, 5, 6, 7}));
  EXPECT_EQ(token_positions(TokenLayout::kZigzag, 8, 2, 0), (std::vector<std::int32_t>{0, 1, 6, 7}));
  EXPECT_EQ(token_positions(TokenLayout::kZigzag, 8, 2, 1), (std::vector<std::int32_t>{2, 3, 4, 5}));
  EXPECT_EQ(token_positions(TokenLayout::kStriped, 8, 2, 1), (std::vector<std::int32_t>{1, 3, 5, 7}));
}

TEST(TokenLayout, LongSequencesDoNotOverflow) {
  constexpr std::int64_t kTokens = (std::int64_t{1} << 31) - 1;
  for (const TokenLayout layout : kLayouts) {
    std::int64_t sum = 0;
    for (int rank = 0; rank < 1024; ++rank) sum += token_count(layout, kTokens, 1024, rank);
    EXPECT_EQ(sum, kTokens);
  }
}

TEST(TokenLayout, ConsecutiveRanksTogetherAreASuperRanksChunk) {
  for (const TokenLayout layout : {TokenLayout::kZigzag, TokenLayout::kContiguous}) {
    for (const std::int64_t tokens : {0, 1, 7, 31, 64, 96, 97, 255, 1024, 1031}) {
      for (const int heads : {1, 2, 3, 4, 8}) {
        for (const int super_ranks : {1, 2, 3, 5, 8}) {
          for (int s = 0; s < super_ranks; ++s) {
            std::vector<std::int32_t> joined;
            for (int j = 0; j < heads; ++j) {
              const auto part = token_positions(layout, tokens, super_ranks * heads, s * heads + j);
              joined.insert(joined.end(), part.begin(), part.end());
            }
            std::sort(joined.begin(), joined.end());
            ASSERT_EQ(joined, token_positions(layout, tokens, super_ranks, s))
                << token_layout_name(layout) << " " << tokens << " tokens, " << super_ranks << " x " << heads;
          }
        }
      }
    }
  }
}

/// Pairs (query t, key s) with s <= t that a rank's tile holds, counted by two pointers over sorted
/// positions.
std::int64_t causal_pairs(const std::vector<std::int32_t>& queries, const std::vector<std::int32_t>& keys) {
  std::int64_t pairs = 0;
  std::size_t visible = 0;
  for (const std::int32_t t : queries) {
    while (visible < keys.size() && keys[visible] <= t) ++visible;
    pairs += static_cast<std::int64_t>(visible);
  }
  return pairs;
}

/// Work of every super-rank under causal attention.
std::vector<std::int64_t> causal_work(TokenLayout layout, std::int64_t tokens, const MeshShape& shape) {
  const TileAssignment assignment(shape);
  const int n = shape.super_ranks();
  std::vector<std::vector<std::int32_t>> positions;
  for (int g = 0; g < n; ++g) positions.push_back(token_positions(layout, tokens, n, g));
  std::vector<std::int64_t> work;
  for (int g = 0; g < n; ++g) {
    std::int64_t sum = 0;
    for (int p = 0; p < shape.a(); ++p) {
      const auto& queries = positions[static_cast<std::size_t>(assignment.row_chunk(g, Row(p)).value)];
      for (int q = 0; q < shape.b(); ++q) {
        sum += causal_pairs(queries,
                            positions[static_cast<std::size_t>(assignment.column_chunk(g, Column(q)).value)]);
      }
    }
    work.push_back(sum);
  }
  return work;
}

double max_over_mean(const std::vector<std::int64_t>& work) {
  const double sum = static_cast<double>(std::accumulate(work.begin(), work.end(), std::int64_t{0}));
  const auto most = static_cast<double>(*std::max_element(work.begin(), work.end()));
  return most * static_cast<double>(work.size()) / sum;
}

TEST(CausalBalance, CountsEveryPairOnce) {
  for (const TokenLayout layout : kLayouts) {
    for (const std::int64_t tokens : {1, 17, 100}) {
      const auto work = causal_work(layout, tokens, MeshShape::mesh(3, 2));
      EXPECT_EQ(std::accumulate(work.begin(), work.end(), std::int64_t{0}), tokens * (tokens + 1) / 2);
    }
  }
}

TEST(CausalBalance, ZigzagBlocksAreAllAlikeWhen2nDividesN) {
  for (const int n : {1, 2, 3, 4, 8, 9, 12, 32}) {
    const std::int64_t half = 5;
    const std::int64_t tokens = 2 * n * half;
    std::vector<std::vector<std::int32_t>> positions;
    for (int g = 0; g < n; ++g) positions.push_back(token_positions(TokenLayout::kZigzag, tokens, n, g));
    // c = 2 half; off the diagonal a block has exactly c^2/2 pairs, on it the c/2 diagonal entries come on
    // top.
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        const std::int64_t pairs =
            causal_pairs(positions[static_cast<std::size_t>(i)], positions[static_cast<std::size_t>(j)]);
        ASSERT_EQ(pairs, 2 * half * half + (i == j ? half : 0)) << n << ": " << i << ", " << j;
      }
    }
    for (const MeshShape& shape : all_meshes(n)) {
      const auto work = causal_work(TokenLayout::kZigzag, tokens, shape);
      ASSERT_EQ(*std::min_element(work.begin(), work.end()), *std::max_element(work.begin(), work.end()))
          << to_string(shape);
    }
  }
}

TEST(CausalBalance, StripedIsNearAndContiguousFar) {
  const double striped = max_over_mean(causal_work(TokenLayout::kStriped, 9 * 64, MeshShape::mesh(3, 3)));
  EXPECT_GT(striped, 1.0);
  EXPECT_LE(striped, 1.02);
  EXPECT_LE(max_over_mean(causal_work(TokenLayout::kStriped, 64 * 256, MeshShape::mesh(8, 8))), 1.02);
  // Ring on n contiguous chunks: the last rank sees everything, 2n/(n+1) of the mean as chunks grow fine.
  const double contiguous =
      max_over_mean(causal_work(TokenLayout::kContiguous, 64 * 64, MeshShape::ring(64)));
  EXPECT_NEAR(contiguous, 2.0, 0.04);
  // Not exactly equal, but close when 2n does not divide N.
  EXPECT_LE(max_over_mean(causal_work(TokenLayout::kZigzag, 64 * 64 + 37, MeshShape::mesh(8, 8))), 1.02);
}

}  // namespace
}  // namespace tessera::runtime
