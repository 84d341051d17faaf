#include "runtime/model/generator.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/llama_reference.h"
#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

struct Model {
  Model()
      : spec(support::small_model()),
        layout(spec),
        parameters(static_cast<std::size_t>(layout.total()), 0.0F) {
    planner::ModelSpec wide = spec;
    wide.initializer_range = 0.3;  // logits that differ
    initialize_parameters(wide, layout, 5, parameters.data());
  }
  planner::ModelSpec spec;
  ParameterLayout layout;
  std::vector<float> parameters;
};

std::vector<std::int32_t> tokens_of(std::int64_t count) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>(mix64(static_cast<std::uint64_t>(i)) % 23));
  }
  return tokens;
}

std::vector<double> expected_logits(const Model& model, const std::vector<std::int32_t>& tokens) {
  support::LlamaInput input;
  input.tokens_per_sequence = static_cast<std::int64_t>(tokens.size());
  input.tokens = tokens;
  return support::LlamaReference(model.spec, model.layout)
      .run({model.parameters.begin(), model.parameters.end()}, input)
      .logits;
}

/// fp32 through two layers of inner products of at most 24 terms: 20 * 5 * 6e-8 of the largest logit (3).
constexpr double kTolerance = 2e-5;

TEST(Generator, EveryStepEqualsTheFullContext) {
  const Model model;
  const auto tokens = tokens_of(40);
  const auto expected = expected_logits(model, tokens);
  Generator generator(model.spec, model.layout, model.parameters.data(), 40);
  for (int round = 0; round < 2; ++round) {  // the second after reset
    const std::span<const std::int32_t> all = tokens;
    std::size_t fed = 0;
    for (const std::size_t count : {7, 1, 1, 5, 1, 1, 1, 23}) {
      const auto logits = generator.feed(all.subspan(fed, count));
      fed += count;
      ASSERT_EQ(logits.size(), 23U);
      for (std::size_t v = 0; v < 23; ++v) {
        ASSERT_NEAR(logits[v], expected[(fed - 1) * 23 + v], kTolerance) << fed << ' ' << v;
      }
    }
    EXPECT_EQ(generator.length(), 40);
    generator.reset();
    EXPECT_EQ(generator.length(), 0);
  }
}

TEST(Generator, LongPromptsGoInPieces) {
  const Model model;
  const std::int64_t count = Generator::kPrefillRows + 37;
  const auto tokens = tokens_of(count);
  const auto expected = expected_logits(model, tokens);
  Generator generator(model.spec, model.layout, model.parameters.data(), count);
  std::vector<float> every(expected.size());
  const auto last = generator.feed(tokens, every.data());
  for (std::size_t i = 0; i < every.size(); ++i) ASSERT_NEAR(every[i], expected[i], kTolerance) << i;
  for (std::size_t v = 0; v < 23; ++v) ASSERT_NEAR(last[v], expected[expected.size() - 23 + v], kTolerance);
}

TEST(GeneratorDeathTest, RefusesWhatDoesNotFit) {
  const Model model;
  Generator generator(model.spec, model.layout, model.parameters.data(), 4);
  const auto tokens = tokens_of(5);
  EXPECT_DEATH(generator.feed(tokens), "capacity");
  const std::int32_t outside = 23;
  EXPECT_DEATH(generator.feed({&outside, 1}), "vocab_size");
}

}  // namespace
}  // namespace tessera::runtime
