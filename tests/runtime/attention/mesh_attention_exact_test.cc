// Mesh-Attention against plain attention over the whole sequence, in double, on one thread: every scheme on
// up to 16 ranks, every mask and layout. Bounds are derived in tests/support/attention_reference.h.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/attention/mesh_attention.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

using support::AttentionInput;

struct Mask {
  const char* name = "";
  bool causal = true;
  int window = 0;
  bool documents = false;
  float dropout = 0;
};

constexpr Mask kMasks[] = {
    {"causal"},
    {"full", false},
    {"causal, window", true, 9},
    {"full, window", false, 7},
    {"causal, documents", true, 0, true},
    {"full, documents, window", false, 11, true},
    {"causal, dropout", true, 0, false, 0.25F},
    {"causal, documents, window, dropout", true, 13, true, 0.4F},
};
constexpr TokenLayout kLayouts[] = {TokenLayout::kZigzag, TokenLayout::kStriped, TokenLayout::kContiguous};

/// Sequence 0: documents of 5, 6, 7, ... tokens; sequence 1: the first half one document, then single tokens.
std::vector<std::int32_t> some_documents(const AttentionDims& dims) {
  std::vector<std::int32_t> documents;
  for (std::int64_t b = 0; b < dims.batch; ++b) {
    std::int32_t document = 3;
    std::int64_t left = 5;
    std::int64_t length = 5;
    for (std::int64_t t = 0; t < dims.tokens; ++t) {
      documents.push_back(document);
      if (b % 2 == 0 ? --left == 0 : t >= dims.tokens / 2) {
        ++document;
        left = ++length;
      }
    }
  }
  return documents;
}

AttentionConfig make_config(const AttentionDims& dims, const Mask& mask) {
  AttentionConfig config;
  config.dims = dims;
  config.causal = mask.causal;
  config.window = mask.window;
  config.dropout = mask.dropout;
  return config;
}

AttentionInput make_input(const AttentionDims& dims, const Mask& mask, std::uint64_t seed) {
  AttentionInput input = support::random_attention(dims, seed);
  if (mask.documents) input.documents = some_documents(dims);
  if (mask.dropout > 0) {
    for (std::int64_t b = 0; b < dims.batch; ++b) {
      input.dropout_keys.push_back(derive_key(seed, 100 + static_cast<std::uint64_t>(b)));
    }
  }
  return input;
}

std::string label(const AttentionConfig& config, const Mask& mask) {
  return to_string(config.shape) + " " + std::string(token_layout_name(config.layout)) + " " + mask.name +
         " tokens " + std::to_string(config.dims.tokens);
}

class EveryShape : public ::testing::TestWithParam<int> {};

/// Every shape on n ranks (flat, hierarchical on either axis, head-parallel); masks and layouts take turns,
/// so that each shape meets several and each pair (mask, layout) meets several shapes on every n.
TEST_P(EveryShape, MatchesReference) {
  const int n = GetParam();
  const AttentionDims dims{2, 61, 4, 2, 8};
  const std::vector<MeshShape> shapes = support::shapes_on(n, dims.heads, dims.kv_heads);
  std::size_t turn = 0;
  for (const Mask& mask : kMasks) {
    AttentionConfig config = make_config(dims, mask);
    const AttentionInput input = make_input(dims, mask, 7);
    const auto expected = support::reference_attention(config, input, n);
    for (const MeshShape& shape : shapes) {
      config.shape = shape;
      config.layout = kLayouts[turn++ % 3];
      EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected))
          << label(config, mask);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, EveryShape, ::testing::Values(1, 2, 3, 4, 6, 8, 9, 12, 16));

/// Every mask with every layout on one shape of each scheme.
TEST(MeshAttention, EveryMaskOnEveryLayout) {
  const AttentionDims dims{2, 53, 4, 4, 8};
  for (const Mask& mask : kMasks) {
    AttentionConfig config = make_config(dims, mask);
    const AttentionInput input = make_input(dims, mask, 11);
    const auto expected = support::reference_attention(config, input, 8);
    for (const char* text : {"1x8", "8x1", "4x2", "(2.2)x2", "1x(2.4)", "u4:1x2", "u2:2x2"}) {
      config.shape = parse_mesh_shape(text).value();
      for (const TokenLayout layout : kLayouts) {
        config.layout = layout;
        EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected))
            << label(config, mask);
      }
    }
  }
}

/// Lengths around, and below, what divides; with fewer tokens than ranks some chunks are empty.
TEST(MeshAttention, RaggedLengths) {
  for (const std::int64_t tokens : {1, 2, 5, 7, 11, 12, 13, 23, 24, 25, 37}) {
    const AttentionDims dims{1, tokens, 4, 2, 4};
    for (const Mask& mask : {kMasks[0], kMasks[1], kMasks[7]}) {
      AttentionConfig config = make_config(dims, mask);
      const AttentionInput input = make_input(dims, mask, 13);
      const auto expected = support::reference_attention(config, input, 12);
      for (const char* text : {"4x3", "(2.3)x2", "u2:3x2", "1x12"}) {
        config.shape = parse_mesh_shape(text).value();
        for (const TokenLayout layout : kLayouts) {
          config.layout = layout;
          EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected))
              << label(config, mask);
        }
      }
    }
  }
}

/// Widths on and off the vector width, up to the largest; a scale of its own; MQA.
TEST(MeshAttention, HeadDims) {
  for (const int head_dim : {1, 3, 32, 40, 64, 100, 128, 256}) {
    const AttentionDims dims{1, 70, 4, head_dim == 40 ? 1 : 2, head_dim};
    AttentionConfig config = make_config(dims, kMasks[0]);
    if (head_dim == 100) config.scale = 0.03F;
    const AttentionInput input = make_input(dims, kMasks[0], 17);
    const auto expected = support::reference_attention(config, input, 6);
    for (const char* text : {"1x6", "3x2", "u1:2x3"}) {
      config.shape = parse_mesh_shape(text).value();
      EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected))
          << text << " head_dim " << head_dim;
    }
  }
}

/// Heads in pieces: each is computed with alone, so nothing but the order of backward's sums may change.
TEST(MeshAttention, HeadPieces) {
  const AttentionDims dims{2, 67, 16, 8, 8};
  for (const Mask& mask : {kMasks[0], kMasks[7]}) {
    AttentionConfig config = make_config(dims, mask);
    const AttentionInput input = make_input(dims, mask, 29);
    const auto expected = support::reference_attention(config, input, 8);
    for (const char* text : {"u2:1x1", "u2:2x2", "u4:1x2", "u2:(2.2)x1"}) {
      config.shape = parse_mesh_shape(text).value();
      config.head_pieces = 1;
      const support::AttentionOutput whole = support::run_attention(config, input);
      for (int pieces = 2; dims.kv_heads / config.shape.heads % pieces == 0; pieces *= 2) {
        config.head_pieces = pieces;
        const support::AttentionOutput found = support::run_attention(config, input);
        EXPECT_TRUE(support::within_bounds(found, expected)) << label(config, mask) << ", pieces " << pieces;
        EXPECT_EQ(found.o, whole.o) << label(config, mask) << ", pieces " << pieces;
        EXPECT_EQ(found.lse, whole.lse) << label(config, mask) << ", pieces " << pieces;
        EXPECT_TRUE(found == support::run_attention(config, input)) << "repeats bit for bit";
      }
    }
  }
}

/// Two lanes, and costs that lead to other lists and compute orders, change only the order of additions.
TEST(MeshAttention, OtherSchedules) {
  const AttentionDims dims{1, 67, 2, 2, 8};
  AttentionConfig config = make_config(dims, kMasks[0]);
  const AttentionInput input = make_input(dims, kMasks[0], 19);
  const auto expected = support::reference_attention(config, input, 16);
  for (const bool two_lanes : {false, true}) {
    for (const double block : {0.01, 0.5, 3.0, 100.0}) {
      for (const double column : {0.1, 5.0}) {
        config.forward_costs = {block, 1, column, 1, column, 3, two_lanes};
        config.backward_costs = {block, 2, column, 1, column, 3, two_lanes};
        for (const char* text : {"4x4", "2x8", "(2.4)x2", "(2.2)x(2.2)", "u2:4x2"}) {
          config.shape = parse_mesh_shape(text).value();
          EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected))
              << text << " block " << block << " column " << column << " two lanes " << two_lanes;
        }
      }
    }
  }
}

/// Blocks long enough to be cut into several slices.
TEST(MeshAttention, LongBlocks) {
  const AttentionDims dims{2, 700, 4, 2, 64};
  AttentionConfig config = make_config(dims, kMasks[4]);
  const AttentionInput input = make_input(dims, kMasks[4], 23);
  const auto expected = support::reference_attention(config, input, 2);
  for (const char* text : {"2x1", "1x2"}) {
    config.shape = parse_mesh_shape(text).value();
    EXPECT_TRUE(support::within_bounds(support::run_attention(config, input), expected)) << text;
  }
}

}  // namespace
}  // namespace tessera::runtime
