// Holds the model against what PyTorch and transformers computed (tests/data/make_llama_fixtures.py), from
// the very files that save_pretrained wrote.
//
// Tolerance. Both sides compute in fp32 with different orders of addition; each is within 1e-5 of the exact
// value relative to the tensor's norm (transformer_test.cc), transformers' rotary angles add 1e-6. Twice
// that.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/model/generator.h"
#include "runtime/model/hf_checkpoint.h"
#include "runtime/model/sampler.h"
#include "tests/support/llama_ranks.h"

namespace tessera::runtime {
namespace {

constexpr double kTolerance = 2e-5;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Fixture {
  explicit Fixture(const std::string& name)
      : directory(std::string(TESSERA_TEST_DATA) + "/llama/" + name),
        spec(planner::read_model_spec(directory + "/config.json").value()),
        layout(spec),
        expected(nlohmann::json::parse(read_file(directory + "/expected.json"))) {
    parameters = read(directory);
    gradients = read(directory + "/gradients");
    const std::string bytes = read_file(directory + "/logits.bin");
    logits.resize(bytes.size() / sizeof(float));
    std::memcpy(logits.data(), bytes.data(), bytes.size());
    input.batch = static_cast<std::int64_t>(expected["tokens"].size());
    input.tokens_per_sequence = static_cast<std::int64_t>(expected["tokens"][0].size());
    for (const auto& row : expected["tokens"]) {
      for (const auto& token : row) input.tokens.push_back(token.get<std::int32_t>());
    }
    for (const auto& row : expected["labels"]) {
      for (const auto& label : row) input.labels.push_back(label.get<std::int32_t>());
    }
  }

  [[nodiscard]] std::vector<float> read(const std::string& from) const {
    std::vector<float> flat(static_cast<std::size_t>(layout.total()), 0.0F);
    const Status status = read_hf_parameters(from, spec, layout, flat.data());
    EXPECT_TRUE(status.ok()) << status.message();
    return flat;
  }

  std::string directory;
  planner::ModelSpec spec;
  ParameterLayout layout;
  nlohmann::json expected;
  std::vector<float> parameters;
  std::vector<float> gradients;
  std::vector<float> logits;
  support::LlamaInput input;
};

class PyTorch : public ::testing::TestWithParam<const char*> {};

TEST_P(PyTorch, LossLogitsAndGradientsAreTheSame) {
  const Fixture fixture(GetParam());
  for (const char* shape : {"1x1", "2x1"}) {
    support::RankOptions options;
    options.shape = parse_mesh_shape(shape).value();
    const auto actual =
        support::run_llama(fixture.spec, fixture.layout, fixture.parameters, fixture.input, options);
    const double loss = fixture.expected["loss"];
    EXPECT_EQ(actual.training.labels, fixture.expected["label_count"].get<std::int64_t>());
    EXPECT_NEAR(actual.training.loss, loss, kTolerance * loss);
    ASSERT_EQ(actual.logits.size(), fixture.logits.size());
    double largest = 0;
    for (const float value : fixture.logits)
      largest = std::max(largest, std::abs(static_cast<double>(value)));
    for (std::size_t i = 0; i < actual.logits.size(); ++i) {
      ASSERT_NEAR(actual.logits[i], fixture.logits[i], kTolerance * largest) << i;
    }
    for (const ParameterInfo& info : fixture.layout.parameters()) {
      double error = 0;
      double norm = 0;
      for (std::int64_t i = info.offset; i < info.offset + info.count; ++i) {
        const double theirs = fixture.gradients[static_cast<std::size_t>(i)];
        const double difference = actual.gradients[static_cast<std::size_t>(i)] - theirs;
        error += difference * difference;
        norm += theirs * theirs;
      }
      EXPECT_GT(norm, 0) << info.name;
      EXPECT_LE(std::sqrt(error), kTolerance * std::sqrt(norm)) << info.name;
    }
  }
}

TEST_P(PyTorch, GreedyContinuationIsTheSame) {
  const Fixture fixture(GetParam());
  const auto prompt = fixture.expected["prompt"].get<std::vector<std::int32_t>>();
  const auto expected = fixture.expected["greedy"].get<std::vector<std::int32_t>>();
  Generator generator(fixture.spec, fixture.layout, fixture.parameters.data(),
                      static_cast<std::int64_t>(prompt.size() + expected.size()));
  Sampler sampler({.temperature = 0}, fixture.spec.vocab_size);
  auto logits = generator.feed(prompt);
  std::vector<std::int32_t> actual;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    actual.push_back(sampler.sample(logits, generator.length()));
    logits = generator.feed({&actual.back(), 1});
  }
  EXPECT_EQ(actual, expected);
}

INSTANTIATE_TEST_SUITE_P(Models, PyTorch,
                         ::testing::Values("grouped_untied", "tied_llama3_scaling_odd",
                                           "linear_scaling_one_layer"));

}  // namespace
}  // namespace tessera::runtime
