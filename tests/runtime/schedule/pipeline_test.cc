// Tolerances as in transformer_test.cc: fp32 against fp32 in another order of sums, 1e-5 of the loss, 2e-5 of
// the norm of each gradient tensor.
#include "runtime/schedule/pipeline.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/llama_case.h"
#include "tests/support/llama_ranks.h"
#include "tests/support/staged_llama_ranks.h"

namespace tessera::runtime {
namespace {

using planner::Recompute;
using support::as_doubles;
using support::expect_gradients_near;
using support::LlamaInput;
using support::LlamaReference;
using support::PipelineCase;
using support::PipelineResult;
using support::random_input;
using support::random_parameters;
using support::run_llama;
using support::run_pipeline;

/// Feed-forward width and vocabulary do not divide by 2, 3 or 4.
planner::ModelSpec model(bool tied) {
  planner::ModelSpec spec;
  spec.hidden_size = 16;
  spec.intermediate_size = 29;
  spec.layers = 5;
  spec.heads = 12;
  spec.kv_heads = 6;
  spec.head_dim = 4;
  spec.vocab_size = 37;
  spec.tie_word_embeddings = tied;
  return spec;
}

std::vector<LlamaInput> micro_batches(const planner::ModelSpec& spec, int count) {
  std::vector<LlamaInput> all;
  for (int k = 0; k < count; ++k) {
    LlamaInput input = random_input(spec, 1, 13, static_cast<std::uint64_t>(100 + k));
    input.dropout = spec.attention_dropout;
    input.dropout_key = 55;
    input.sequence_ids = {7 * k + 1};
    all.push_back(input);
  }
  return all;
}

struct Sum {
  LossSum loss;
  std::vector<float> gradients;
};

/// One rank, micro-batch after micro-batch.
Sum single_rank(const planner::ModelSpec& spec, const std::vector<float>& parameters,
                const std::vector<LlamaInput>& inputs) {
  const ParameterLayout layout(spec);
  Sum sum;
  sum.gradients.assign(parameters.size(), 0.0F);
  for (const LlamaInput& input : inputs) {
    const auto result = run_llama(spec, layout, parameters, input);
    sum.loss.loss += result.training.loss;
    sum.loss.labels += result.training.labels;
    for (std::size_t i = 0; i < sum.gradients.size(); ++i) sum.gradients[i] += result.gradients[i];
  }
  return sum;
}

void expect_like_one_rank(const planner::ModelSpec& spec, int micro_batch_count, const PipelineCase& c) {
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const std::vector<LlamaInput> inputs = micro_batches(spec, micro_batch_count);
  const Sum one = single_rank(spec, parameters, inputs);
  const PipelineResult many = run_pipeline(spec, parameters, inputs, c);
  EXPECT_EQ(many.training.labels, one.loss.labels);
  EXPECT_EQ(many.evaluation.labels, one.loss.labels);
  EXPECT_NEAR(many.training.loss, one.loss.loss, 1e-5 * one.loss.loss);
  expect_gradients_near(layout, many.gradients, one.gradients, 2e-5);
  if (spec.attention_dropout == 0) {
    EXPECT_NEAR(many.evaluation.loss, many.training.loss, 1e-5 * many.training.loss);
    double reference = 0;
    for (const LlamaInput& input : inputs) {
      reference += LlamaReference(spec, layout).run(as_doubles(parameters), input).loss;
    }
    EXPECT_NEAR(many.training.loss, reference, 1e-5 * reference);
  }
}

MeshShape mesh(const std::string& text) { return parse_mesh_shape(text).value(); }

TEST(Pipeline, UnequalCutsTrainLikeOneRank) {
  for (const bool tied : {false, true}) {
    expect_like_one_rank(model(tied), 4, {{{2, {}}, {3, {}}}, 1, mesh("1x1")});
    expect_like_one_rank(model(tied), 5, {{{1, {}}, {3, {}}, {1, {}}}, 1, mesh("1x1")});
  }
}

TEST(Pipeline, FewerMicroBatchesThanStages) {
  expect_like_one_rank(model(true), 1, {{{1, {}}, {1, {}}, {1, {}}, {2, {}}}, 1, mesh("1x1")});
  expect_like_one_rank(model(false), 2, {{{1, {}}, {1, {}}, {1, {}}, {2, {}}}, 1, mesh("1x1")});
}

TEST(Pipeline, TensorRanksTrainLikeOneRank) {
  for (const bool tied : {false, true}) {
    for (const int ranks : {2, 3, 6}) expect_like_one_rank(model(tied), 2, {{{5, {}}}, ranks, mesh("1x1")});
  }
}

/// More tensor ranks than rows: some own no row of the stream at all.
TEST(Pipeline, MoreTensorRanksThanRows) {
  const planner::ModelSpec spec = model(true);
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const std::vector<LlamaInput> inputs = {random_input(spec, 1, 4, 5)};
  const Sum one = single_rank(spec, parameters, inputs);
  const PipelineResult many = run_pipeline(spec, parameters, inputs, {{{5, {}}}, 6, mesh("1x1")});
  EXPECT_NEAR(many.training.loss, one.loss.loss, 1e-5 * one.loss.loss);
  expect_gradients_near(layout, many.gradients, one.gradients, 2e-5);
}

TEST(Pipeline, EveryAxisAtOnce) {
  for (const char* shape : {"1x2", "2x1", "2x2"}) {
    expect_like_one_rank(model(true), 3, {{{2, {}}, {3, {}}}, 2, mesh(shape)});
    expect_like_one_rank(model(false), 3, {{{4, {}}, {1, {}}}, 2, mesh(shape)});
  }
}

TEST(Pipeline, DropoutFollowsTokenHeadAndLayer) {
  planner::ModelSpec spec = model(true);
  spec.attention_dropout = 0.2;
  expect_like_one_rank(spec, 3, {{{2, {}}, {3, {}}}, 2, mesh("1x2")});
  expect_like_one_rank(spec, 3, {{{2, {}}, {3, {}}}, 3, mesh("u2:1x1")});
}

/// Recomputed layers beside kept ones, several micro-batches in flight through the buffers they share.
TEST(Pipeline, RecomputationChangesNoBit) {
  planner::ModelSpec spec = model(true);
  spec.attention_dropout = 0.2;
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const std::vector<LlamaInput> inputs = micro_batches(spec, 4);
  const PipelineCase kept{{{3, {}}, {2, {}}}, 2, mesh("1x2")};
  const PipelineResult expected = run_pipeline(spec, parameters, inputs, kept);
  constexpr auto kN = Recompute::kNone;
  constexpr auto kS = Recompute::kSelective;
  constexpr auto kF = Recompute::kFull;
  for (const auto& [first, second] :
       std::vector<std::pair<std::vector<Recompute>, std::vector<Recompute>>>{{{kS, kS, kS}, {kS, kS}},
                                                                              {{kN, kS, kN}, {kN, kS}},
                                                                              {{kF, kF, kF}, {kF, kF}},
                                                                              {{kF, kN, kS}, {kS, kF}}}) {
    const PipelineCase again{{{3, first}, {2, second}}, 2, mesh("1x2")};
    const PipelineResult result = run_pipeline(spec, parameters, inputs, again);
    EXPECT_EQ(result.training.loss, expected.training.loss);
    // Threads hand in their gradients in any order, so the test's own sum over ranks may differ in its
    // rounding.
    expect_gradients_near(layout, result.gradients, expected.gradients, 1e-6);
  }
}

/// Per boundary, micro-batch and rank S * D floats each way; per layer four gathers and four reductions, one
/// each for embedding (backward gather, forward reduction) and head.
TEST(Pipeline, BytesAreThoseOfTheFormulas) {
  const planner::ModelSpec spec = model(false);
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const std::vector<LlamaInput> inputs = micro_batches(spec, 4);
  const int t = 3;
  const PipelineResult result =
      run_pipeline(spec, parameters, inputs, {{{2, {}}, {2, {}}, {1, {}}}, t, mesh("1x1")});
  const std::int64_t block_floats = 5 * 16;  // 13 rows over 3 ranks: blocks of 5
  const std::int64_t micro_batch_count = 4;
  EXPECT_EQ(result.pipeline_bytes, 2 * 2 * micro_batch_count * t * 4 * block_floats);
  const std::int64_t layer_transfers = 2 + 2 + 2 + 2;
  const std::int64_t edge_transfers = 4;
  EXPECT_EQ(result.tensor_bytes,
            (5 * layer_transfers + edge_transfers) * micro_batch_count * t * (t - 1) * 4 * block_floats);
}

}  // namespace
}  // namespace tessera::runtime
