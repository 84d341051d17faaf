// Tolerances. The model computes in fp32 (unit roundoff u = 6e-8); a value passes through about
// 10 products per layer, each an inner product of k <= 64 terms with error about sqrt(k) u relative to the
// norms, so 2 layers stay within 20 * 8 * 6e-8 = 1e-5 of the largest value. Gradients pass twice as many:
// 2e-5 of the norm of their tensor.
#include "runtime/model/transformer.h"

#include <cmath>
#include <set>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "kernels/device/buffer.h"
#include "tests/support/llama_case.h"
#include "tests/support/llama_ranks.h"
#include "tests/support/llama_reference.h"
#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

using support::as_doubles;
using support::expect_gradients_near;
using support::LlamaInput;
using support::LlamaRank;
using support::LlamaReference;
using support::LlamaResult;
using support::norm_of;
using support::random_input;
using support::random_parameters;
using support::RankOptions;
using support::run_llama;
using support::small_model;

/// Nothing a multiple of anything: weights of one trio are not adjacent in the flat buffer, rows are not
/// aligned, one key/value head serves three query heads.
planner::ModelSpec ragged_model() {
  planner::ModelSpec spec;
  spec.hidden_size = 9;
  spec.intermediate_size = 11;
  spec.layers = 3;
  spec.heads = 3;
  spec.kv_heads = 1;
  spec.head_dim = 6;
  spec.vocab_size = 13;
  spec.tie_word_embeddings = true;
  return spec;
}

void expect_near_reference(const planner::ModelSpec& spec, const LlamaInput& input) {
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const auto expected = LlamaReference(spec, layout).run(as_doubles(parameters), input);
  const LlamaResult actual = run_llama(spec, layout, parameters, input);

  EXPECT_EQ(actual.training.labels, expected.labels);
  EXPECT_NEAR(actual.training.loss, expected.loss, 1e-5 * expected.loss);
  ASSERT_EQ(actual.logits.size(), expected.logits.size());
  if (input.dropout > 0) return;  // evaluation and logits are without
  EXPECT_NEAR(actual.evaluation.loss, expected.loss, 1e-5 * expected.loss);
  double largest = 0;
  for (const double value : expected.logits) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < actual.logits.size(); ++i) {
    ASSERT_NEAR(actual.logits[i], expected.logits[i], 1e-5 * largest) << i;
  }
}

/// For every tensor, the gradient along a random direction against a central difference of the double
/// reference. Truncation is h^2/6 of the third derivative, 1e-8 of the scale; rounding 1e-16 / h = 1e-12.
void expect_gradient_is_derivative(const planner::ModelSpec& spec, const LlamaInput& input) {
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 4);
  const LlamaReference reference(spec, layout);
  const LlamaResult actual = run_llama(spec, layout, parameters, input);
  constexpr double kStep = 1e-4;
  for (const ParameterInfo& info : layout.parameters()) {
    std::vector<double> direction(static_cast<std::size_t>(info.count));
    double length = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      direction[i] = normal(17, static_cast<std::uint64_t>(info.offset) + i);
      length += direction[i] * direction[i];
    }
    length = std::sqrt(length);
    const auto loss_at = [&](double step) {
      std::vector<double> moved = as_doubles(parameters);
      for (std::size_t i = 0; i < direction.size(); ++i) {
        moved[static_cast<std::size_t>(info.offset) + i] += step * direction[i] / length;
      }
      return reference.run(moved, input).loss;
    };
    const double expected = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    double along = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      along += static_cast<double>(actual.gradients[static_cast<std::size_t>(info.offset) + i]) *
               direction[i] / length;
    }
    const double norm = norm_of(actual.gradients, info);
    EXPECT_GT(norm, 1e-3) << info.name;  // else the comparison says nothing
    EXPECT_NEAR(along, expected, 2e-5 * norm) << info.name;
  }
}

TEST(Transformer, LossAndLogitsAreThoseOfTheDoubleReference) {
  expect_near_reference(small_model(), random_input(small_model(), 2, 13, 1));
  expect_near_reference(ragged_model(), random_input(ragged_model(), 3, 7, 2));
}

TEST(Transformer, GradientIsTheDerivativeOfTheDoubleReference) {
  expect_gradient_is_derivative(small_model(), random_input(small_model(), 2, 13, 1));
  expect_gradient_is_derivative(ragged_model(), random_input(ragged_model(), 3, 7, 2));
}

LlamaInput packed_input(const planner::ModelSpec& spec) {
  LlamaInput input = random_input(spec, 2, 12, 5);
  input.documents = {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3,  //
                     0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return input;
}

TEST(Transformer, DocumentsDoNotSeeEachOther) {
  const LlamaInput input = packed_input(small_model());
  expect_near_reference(small_model(), input);
  expect_gradient_is_derivative(small_model(), input);
}

LlamaInput dropout_input(const planner::ModelSpec& spec) {
  LlamaInput input = random_input(spec, 2, 12, 6);
  input.dropout = spec.attention_dropout;
  input.dropout_key = 0x1234567890abcdefULL;
  input.sequence_ids = {70, 3};
  return input;
}

TEST(Transformer, DropoutInTrainingOnly) {
  planner::ModelSpec spec = small_model();
  spec.attention_dropout = 0.25;
  const LlamaInput input = dropout_input(spec);
  expect_near_reference(spec, input);
  expect_gradient_is_derivative(spec, input);

  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const LlamaResult with = run_llama(spec, layout, parameters, input);
  LlamaInput plain = input;
  plain.dropout = 0;
  const auto without = LlamaReference(spec, layout).run(as_doubles(parameters), plain);
  EXPECT_NEAR(with.evaluation.loss, without.loss, 1e-5 * without.loss);
  EXPECT_GT(std::abs(with.training.loss - without.loss), 1e-3 * without.loss);
}

struct Layout {
  const char* shape;
  TokenLayout layout;
};

class ContextRanks : public ::testing::TestWithParam<Layout> {};

/// 14 tokens do not divide by 3 or 4 ranks, so chunks are ragged. Documents and dropout at once: both must
/// follow the token, not the rank.
TEST_P(ContextRanks, GiveTheLossAndGradientsOfOneRank) {
  planner::ModelSpec spec = small_model();
  spec.attention_dropout = 0.2;
  LlamaInput input = random_input(spec, 2, 14, 8);
  input.documents = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
  input.dropout_key = 99;
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 6);
  const LlamaResult one = run_llama(spec, layout, parameters, input);

  RankOptions options;
  options.shape = parse_mesh_shape(GetParam().shape).value();
  options.layout = GetParam().layout;
  for (const bool recompute : {false, true}) {
    options.recompute = recompute;
    const LlamaResult many = run_llama(spec, layout, parameters, input, options);
    EXPECT_EQ(many.training.labels, one.training.labels);
    EXPECT_NEAR(many.training.loss, one.training.loss, 1e-5 * one.training.loss);
    EXPECT_NEAR(many.evaluation.loss, one.evaluation.loss, 1e-5 * one.evaluation.loss);
    expect_gradients_near(layout, many.gradients, one.gradients, 2e-5);
    for (std::size_t i = 0; i < one.logits.size(); ++i) {
      ASSERT_NEAR(many.logits[i], one.logits[i], 1e-4) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ContextRanks,
    ::testing::Values(Layout{"1x2", TokenLayout::kZigzag}, Layout{"2x2", TokenLayout::kZigzag},
                      Layout{"1x4", TokenLayout::kContiguous}, Layout{"3x1", TokenLayout::kStriped},
                      Layout{"1x3", TokenLayout::kZigzag}, Layout{"u2:1x2", TokenLayout::kZigzag}));

TEST(Transformer, RecomputationChangesNoBit) {
  for (const planner::ModelSpec& spec : {small_model(), ragged_model()}) {
    const ParameterLayout layout(spec);
    const std::vector<float> parameters = random_parameters(layout, 3);
    const LlamaInput input = random_input(spec, 2, 11, 1);
    const LlamaResult kept = run_llama(spec, layout, parameters, input, {.shape = {}, .recompute = false});
    const LlamaResult again = run_llama(spec, layout, parameters, input, {.shape = {}, .recompute = true});
    EXPECT_EQ(kept.training.loss, again.training.loss);
    EXPECT_EQ(kept.gradients, again.gradients);
    EXPECT_EQ(kept.logits, again.logits);
  }
}

TEST(Transformer, RecomputationKeepsLess) {
  planner::ModelSpec spec = small_model();
  spec.layers = 8;
  const ParameterLayout layout(spec);
  const LlamaInput input = random_input(spec, 2, 64, 1);
  run_local_ranks(1, [&](Communicator& comm) {
    LlamaRank kept(comm, spec, layout, input, {.shape = {}, .recompute = false});
    LlamaRank again(comm, spec, layout, input, {.shape = {}, .recompute = true});
    EXPECT_LT(again.transformer().buffer_bytes(), kept.transformer().buffer_bytes() / 2);
  });
}

TEST(Transformer, GradientsAccumulateOverMicroBatches) {
  const planner::ModelSpec spec = small_model();
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const LlamaInput both = random_input(spec, 2, 9, 1);
  const LlamaResult at_once = run_llama(spec, layout, parameters, both);
  std::vector<float> gradients(parameters.size(), 0.0F);
  LossSum sum;
  for (std::size_t b = 0; b < 2; ++b) {
    LlamaInput one;
    one.tokens_per_sequence = 9;
    one.tokens.assign(both.tokens.begin() + static_cast<std::ptrdiff_t>(9 * b),
                      both.tokens.begin() + static_cast<std::ptrdiff_t>(9 * (b + 1)));
    one.labels.assign(both.labels.begin() + static_cast<std::ptrdiff_t>(9 * b),
                      both.labels.begin() + static_cast<std::ptrdiff_t>(9 * (b + 1)));
    run_local_ranks(1, [&](Communicator& comm) {
      LlamaRank rank(comm, spec, layout, one, {});
      const LossSum loss =
          rank.transformer().forward_backward(parameters.data(), gradients.data(), rank.micro_batch());
      sum.loss += loss.loss;
      sum.labels += loss.labels;
    });
  }
  EXPECT_EQ(sum.labels, at_once.training.labels);
  EXPECT_NEAR(sum.loss, at_once.training.loss, 1e-5 * sum.loss);
  expect_gradients_near(layout, gradients, at_once.gradients, 2e-5);
}

/// A Transformer carries nothing from one call to the next.
TEST(Transformer, RepeatsItself) {
  const planner::ModelSpec spec = small_model();
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const LlamaInput input = random_input(spec, 2, 9, 1);
  for (const bool recompute : {false, true}) {
    run_local_ranks(1, [&](Communicator& comm) {
      LlamaRank rank(comm, spec, layout, input, {.shape = {}, .recompute = recompute});
      std::vector<float> first(parameters.size(), 0.0F);
      std::vector<float> second(parameters.size(), 0.0F);
      const LossSum loss =
          rank.transformer().forward_backward(parameters.data(), first.data(), rank.micro_batch());
      EXPECT_EQ(rank.transformer().evaluate(parameters.data(), rank.micro_batch()).loss, loss.loss);
      EXPECT_EQ(
          rank.transformer().forward_backward(parameters.data(), second.data(), rank.micro_batch()).loss,
          loss.loss);
      EXPECT_EQ(first, second);
    });
  }
}

TEST(Transformer, WithoutLabelsThereIsNoLossAndNoGradient) {
  const planner::ModelSpec spec = small_model();
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  LlamaInput input = random_input(spec, 2, 9, 1);
  std::ranges::fill(input.labels, kernels::kIgnoredLabel);
  const LlamaResult result = run_llama(spec, layout, parameters, input);
  EXPECT_EQ(result.training.labels, 0);
  EXPECT_EQ(result.training.loss, 0);
  EXPECT_EQ(result.gradients, std::vector<float>(parameters.size(), 0.0F));
}

/// What the hook announces is final, and everything is announced once.
TEST(Transformer, HookAnnouncesFinalGradientsOnce) {
  for (const planner::ModelSpec& spec : {small_model(), ragged_model()}) {
    const ParameterLayout layout(spec);
    const std::vector<float> parameters = random_parameters(layout, 3);
    const LlamaInput input = random_input(spec, 2, 9, 1);
    std::vector<float> gradients(parameters.size(), 0.0F);
    std::vector<float> announced(parameters.size(), 0.0F);
    std::vector<int> times(parameters.size(), 0);
    int calls = 0;
    run_local_ranks(1, [&](Communicator& comm) {
      LlamaRank rank(comm, spec, layout, input, {});
      rank.transformer().set_gradient_hook([&](std::int64_t offset, std::int64_t count) {
        ++calls;
        for (auto i = static_cast<std::size_t>(offset); i < static_cast<std::size_t>(offset + count); ++i) {
          ++times[i];
          announced[i] = gradients[i];
        }
      });
      rank.transformer().forward_backward(parameters.data(), gradients.data(), rank.micro_batch());
    });
    EXPECT_EQ(calls, spec.layers + 2);
    EXPECT_EQ(times, std::vector<int>(parameters.size(), 1));
    EXPECT_EQ(announced, gradients);
  }
}

TEST(Transformer, StepsAllocateNoBuffers) {
  const planner::ModelSpec spec = small_model();
  const ParameterLayout layout(spec);
  const std::vector<float> parameters = random_parameters(layout, 3);
  const LlamaInput input = random_input(spec, 2, 64, 1);
  std::vector<float> gradients(parameters.size(), 0.0F);
  run_local_ranks(1, [&](Communicator& comm) {
    LlamaRank rank(comm, spec, layout, input, {});
    rank.transformer().forward_backward(parameters.data(), gradients.data(), rank.micro_batch());
    const auto before = kernels::host_memory_use();
    rank.transformer().forward_backward(parameters.data(), gradients.data(), rank.micro_batch());
    EXPECT_EQ(kernels::host_memory_use().current_bytes, before.current_bytes);
    EXPECT_EQ(kernels::host_memory_use().peak_bytes, before.peak_bytes);
  });
}

}  // namespace
}  // namespace tessera::runtime
