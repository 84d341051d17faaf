#include "runtime/attention/chunk_tokens.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention/attention.h"
#include "runtime/attention/mesh_shape.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kSequences = 2;

/// Documents of `length` tokens in sequence 0, of 2 * length in sequence 1.
std::vector<std::int32_t> documents_of(std::int64_t tokens, std::int64_t length) {
  std::vector<std::int32_t> documents;
  for (std::int64_t b = 0; b < kSequences; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      documents.push_back(static_cast<std::int32_t>(t / (length * (b + 1))));
    }
  }
  return documents;
}

bool anything_allowed(const ChunkTokens& q, const ChunkTokens& k, std::int64_t sequence, bool causal,
                      std::int32_t window) {
  const kernels::BlockMask mask{q.positions().data(),
                                k.positions().data(),
                                q.documents(sequence),
                                k.documents(sequence),
                                causal,
                                window};
  for (std::int64_t i = 0; i < q.tokens(); ++i) {
    for (std::int64_t j = 0; j < k.tokens(); ++j) {
      if (mask.allows(i, j)) return true;
    }
  }
  return false;
}

struct Counts {
  int skipped = 0;
  int empty = 0;
};

/// Every block of a sequence of `tokens` on n chunks. Fails where a block is skipped that has something to
/// see.
Counts check_blocks(TokenLayout layout, std::int64_t tokens, int n, bool causal, std::int32_t window,
                    std::int64_t document_length) {
  Counts counts;
  std::vector<ChunkTokens> chunks;
  for (int g = 0; g < n; ++g) {
    chunks.emplace_back(super_rank_positions(MeshShape::ring(n), layout, tokens, g), kSequences);
    if (document_length > 0) chunks.back().set_documents(documents_of(tokens, document_length), tokens);
  }
  for (const ChunkTokens& q : chunks) {
    for (const ChunkTokens& k : chunks) {
      for (std::int64_t b = 0; b < kSequences; ++b) {
        const bool skipped = nothing_visible(q, k, b, causal, window);
        const bool empty = !anything_allowed(q, k, b, causal, window);
        EXPECT_TRUE(empty || !skipped) << token_layout_name(layout) << " tokens " << tokens << " n " << n;
        counts.skipped += skipped ? 1 : 0;
        counts.empty += empty ? 1 : 0;
      }
    }
  }
  return counts;
}

TEST(ChunkTokens, NeverSkipsWhatIsVisible) {
  for (const TokenLayout layout : {TokenLayout::kZigzag, TokenLayout::kStriped, TokenLayout::kContiguous}) {
    for (const std::int64_t tokens : {1, 3, 7, 16, 31, 64}) {
      for (const int n : {1, 2, 3, 5, 8}) {
        for (const bool causal : {false, true}) {
          for (const std::int32_t window : {0, 1, 2, 9}) {
            for (const std::int64_t document_length : {0, 1, 6}) {
              check_blocks(layout, tokens, n, causal, window, document_length);
            }
          }
        }
      }
    }
  }
}

/// Contiguous and zigzag chunks are runs without holes, so every empty block is seen to be empty.
TEST(ChunkTokens, SkipsEveryEmptyBlockOfRunsWithoutHoles) {
  for (const TokenLayout layout : {TokenLayout::kZigzag, TokenLayout::kContiguous}) {
    for (const std::int32_t window : {0, 5}) {
      for (const std::int64_t document_length : {0, 7}) {
        const Counts counts = check_blocks(layout, 64, 8, true, window, document_length);
        EXPECT_EQ(counts.skipped, counts.empty) << token_layout_name(layout) << " window " << window;
        if (window > 0 || layout == TokenLayout::kContiguous) {
          EXPECT_GT(counts.skipped, 0);
        }
      }
    }
  }
}

TEST(ChunkTokens, SuperRanksHoldTheTokensOfTheirRanksInOrder) {
  const MeshShape shape = parse_mesh_shape("u3:2x1").value();
  std::vector<std::int32_t> seen;
  for (int s = 0; s < 2; ++s) {
    const auto positions = super_rank_positions(shape, TokenLayout::kZigzag, 41, s);
    EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
    EXPECT_EQ(positions, token_positions(TokenLayout::kZigzag, 41, 2, s));
    seen.insert(seen.end(), positions.begin(), positions.end());
  }
  EXPECT_EQ(seen.size(), 41U);
  EXPECT_EQ(super_rank_positions(shape, TokenLayout::kStriped, 8, 1), (std::vector<std::int32_t>{3, 4, 5}));
}

TEST(ChunkTokens, DocumentsAreThoseOfThePositions) {
  ChunkTokens chunk({1, 4, 5}, 2);
  EXPECT_EQ(chunk.documents(0), nullptr);
  chunk.set_documents(std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}, 6);
  EXPECT_EQ(std::vector<std::int32_t>(chunk.documents(1), chunk.documents(1) + 3),
            (std::vector<std::int32_t>{11, 14, 15}));
  chunk.set_documents({}, 6);
  EXPECT_EQ(chunk.documents(1), nullptr);
}

}  // namespace
}  // namespace tessera::runtime
