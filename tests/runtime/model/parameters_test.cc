#include "runtime/model/parameters.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

planner::ModelSpec model(bool tied) {
  planner::ModelSpec spec = support::small_model();
  spec.layers = 5;
  spec.heads = 6;
  spec.kv_heads = 3;
  spec.tie_word_embeddings = tied;
  return spec;
}

std::vector<ModelSlice> slices_of(const planner::ModelSpec& spec, const std::vector<int>& cuts,
                                  int tensor_ranks) {
  std::vector<ModelSlice> slices;
  int first = 0;
  for (std::size_t s = 0; s < cuts.size(); ++s) {
    for (int t = 0; t < tensor_ranks; ++t) {
      slices.push_back({first, cuts[s], s == 0, s + 1 == cuts.size(), t, tensor_ranks});
    }
    first += cuts[s];
  }
  EXPECT_EQ(first, spec.layers);
  return slices;
}

TEST(ParameterLayout, TheWholeHasEveryParameterOnceAndGapsBelowTheAlignment) {
  for (const bool tied : {false, true}) {
    const planner::ModelSpec spec = model(tied);
    const ParameterLayout layout(spec);
    std::int64_t floats = 0;
    std::int64_t end = 0;
    for (const ParameterInfo& info : layout.parameters()) {
      EXPECT_GE(info.offset, end) << info.name;
      EXPECT_LT(info.offset - end, kParameterAlignment) << info.name;
      EXPECT_EQ(info.shape, info.full_shape);
      end = info.offset + info.count;
      floats += info.count;
    }
    EXPECT_EQ(floats, spec.parameters());
    EXPECT_LT(layout.total() - end, kParameterAlignment);
  }
}

/// Runs of all slices cover every float of the whole: once, but for norms (on every tensor rank) and the tied
/// embedding (on first and last stages).
TEST(ParameterLayout, SlicesCoverTheWhole) {
  for (const bool tied : {false, true}) {
    const planner::ModelSpec spec = model(tied);
    const ParameterLayout whole(spec);
    for (const int t : {1, 3}) {
      for (const std::vector<int>& cuts : std::vector<std::vector<int>>{{5}, {2, 3}, {1, 1, 1, 1, 1}}) {
        std::vector<int> times(static_cast<std::size_t>(whole.total()), 0);
        for (const ModelSlice& slice : slices_of(spec, cuts, t)) {
          const ParameterLayout layout(spec, slice);
          std::int64_t at = 0;
          for (const ParameterInfo& info : layout.parameters()) {
            at = info.offset;
            for (const ParameterInfo::Run& run : info.runs()) {
              EXPECT_EQ(run.offset, at) << info.name;
              at += run.count;
              for (std::int64_t i = 0; i < run.count; ++i) {
                ++times[static_cast<std::size_t>(whole.find(info.name).offset + run.full_index + i)];
              }
            }
            EXPECT_EQ(at, info.offset + info.count) << info.name;
          }
          EXPECT_GE(layout.total(), at);
        }
        for (const ParameterInfo& info : whole.parameters()) {
          const bool twice = tied && info.name == "model.embed_tokens.weight" && cuts.size() > 1;
          const int expected = !info.decay ? t : twice ? 2 : 1;
          for (std::int64_t i = 0; i < info.count; ++i) {
            ASSERT_EQ(times[static_cast<std::size_t>(info.offset + i)], expected) << info.name << " " << i;
          }
        }
      }
    }
  }
}

TEST(InitializeParameters, ASliceStartsAsItsPartOfTheWhole) {
  const planner::ModelSpec spec = model(true);
  const ParameterLayout whole(spec);
  std::vector<float> expected(static_cast<std::size_t>(whole.total()), -1);
  initialize_parameters(spec, whole, 5, expected.data());
  for (const ModelSlice& slice : slices_of(spec, {2, 3}, 3)) {
    const ParameterLayout layout(spec, slice);
    std::vector<float> own(static_cast<std::size_t>(layout.total()), -1);
    initialize_parameters(spec, layout, 5, own.data());
    for (const ParameterInfo& info : layout.parameters()) {
      for (const ParameterInfo::Run& run : info.runs()) {
        for (std::int64_t i = 0; i < run.count; ++i) {
          ASSERT_EQ(own[static_cast<std::size_t>(run.offset + i)],
                    expected[static_cast<std::size_t>(whole.find(info.name).offset + run.full_index + i)])
              << info.name;
        }
      }
    }
  }
}

TEST(CheckTensorRanks, HeadsMustDivide) {
  const planner::ModelSpec spec = model(false);
  EXPECT_TRUE(check_tensor_ranks(spec, 1).ok());
  EXPECT_TRUE(check_tensor_ranks(spec, 3).ok());
  EXPECT_NE(check_tensor_ranks(spec, 2).message().find("num_key_value_heads"), std::string::npos);
  EXPECT_NE(check_tensor_ranks(spec, 4).message().find("num_attention_heads"), std::string::npos);
  EXPECT_FALSE(check_tensor_ranks(spec, 0).ok());
}

}  // namespace
}  // namespace tessera::runtime
