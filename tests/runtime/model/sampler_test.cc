#include "runtime/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

const std::vector<float> kLogits = {1.0F, 3.0F, 2.0F, 0.0F, 2.5F, -1.0F};

std::map<std::int32_t, double> distribution_of(const SamplingOptions& options,
                                               const std::vector<float>& logits = kLogits) {
  Sampler sampler(options, static_cast<std::int64_t>(logits.size()));
  std::map<std::int32_t, double> distribution;
  for (const auto& candidate : sampler.distribution(logits)) {
    distribution[candidate.token] = candidate.probability;
  }
  return distribution;
}

/// softmax(logits / temperature) over `tokens`.
std::map<std::int32_t, double> softmax(const std::vector<std::int32_t>& tokens, double temperature) {
  std::map<std::int32_t, double> p;
  double sum = 0;
  for (const std::int32_t token : tokens) {
    sum += p[token] = std::exp(kLogits[static_cast<std::size_t>(token)] / temperature);
  }
  for (auto& [token, probability] : p) probability /= sum;
  return p;
}

void expect_distribution(const SamplingOptions& options, const std::map<std::int32_t, double>& expected) {
  const auto actual = distribution_of(options);
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [token, probability] : expected) EXPECT_NEAR(actual.at(token), probability, 1e-12);
}

TEST(Sampler, TemperatureZeroTakesTheFirstOfTheLargest) {
  Sampler sampler({.temperature = 0}, 6);
  EXPECT_EQ(sampler.sample(kLogits, 0), 1);
  const std::vector<float> equal = {1, 7, 7, 0};
  for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(sampler.sample(equal, i), 1);
}

TEST(Sampler, TemperatureScalesLogits) {
  expect_distribution({.temperature = 1}, softmax({0, 1, 2, 3, 4, 5}, 1));
  expect_distribution({.temperature = 0.5}, softmax({0, 1, 2, 3, 4, 5}, 0.5));
  expect_distribution({.temperature = 2}, softmax({0, 1, 2, 3, 4, 5}, 2));
}

TEST(Sampler, TopKKeepsTheLargestAndTheirEquals) {
  expect_distribution({.top_k = 1}, softmax({1}, 1));
  expect_distribution({.top_k = 3}, softmax({1, 2, 4}, 1));
  expect_distribution({.top_k = 100}, softmax({0, 1, 2, 3, 4, 5}, 1));
  EXPECT_EQ(distribution_of({.top_k = 2}, {5, 3, 3, 3, 1}).size(), 4U);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // softmax of kLogits by falling probability: 1: .437, 4: .265, 2: .161, 0: .059 ...
  const auto p = softmax({0, 1, 2, 3, 4, 5}, 1);
  expect_distribution({.top_p = p.at(1) - 1e-6}, softmax({1}, 1));
  expect_distribution({.top_p = p.at(1) + 1e-6}, softmax({1, 4}, 1));
  expect_distribution({.top_p = p.at(1) + p.at(4) + 1e-6}, softmax({1, 2, 4}, 1));
  expect_distribution({.top_p = 1e-9}, softmax({1}, 1));
}

TEST(Sampler, TopPIsTakenOfWhatTopKLeft) {
  const auto p = softmax({1, 4}, 1);
  expect_distribution({.top_k = 2, .top_p = p.at(1) + 1e-6}, softmax({1, 4}, 1));
  expect_distribution({.top_k = 2, .top_p = p.at(1) - 1e-6}, softmax({1}, 1));
}

/// Counts of 60000 draws against the distribution: chi-squared with 5 degrees of freedom exceeds 25.7 with
/// probability 1e-4. The draws are a fixed function of the seed, so the test does not flicker.
TEST(Sampler, DrawsFollowTheDistribution) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    Sampler sampler({.temperature = 1.5, .seed = seed}, 6);
    const auto p = softmax({0, 1, 2, 3, 4, 5}, 1.5);
    constexpr int kDraws = 60000;
    std::map<std::int32_t, int> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(kLogits, i)];
    double chi_squared = 0;
    for (const auto& [token, probability] : p) {
      const double expected = probability * kDraws;
      chi_squared += (counts[token] - expected) * (counts[token] - expected) / expected;
    }
    EXPECT_LT(chi_squared, 25.7) << seed;
  }
}

TEST(Sampler, SeedAndPositionDecide) {
  Sampler first({.seed = 7}, 6);
  Sampler second({.seed = 7}, 6);
  Sampler other({.seed = 8}, 6);
  int different = 0;
  for (std::int64_t i = 0; i < 200; ++i) {
    const std::int32_t token = first.sample(kLogits, i);
    EXPECT_EQ(token, second.sample(kLogits, i));
    different += token != other.sample(kLogits, i) ? 1 : 0;
  }
  EXPECT_GT(different, 50);
  EXPECT_EQ(first.sample(kLogits, 3), second.sample(kLogits, 3));  // in any order
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  EXPECT_TRUE(check_sampling_options({}).ok());
  EXPECT_NE(check_sampling_options({.temperature = -1}).message().find("--temperature"), std::string::npos);
  EXPECT_NE(check_sampling_options({.temperature = NAN}).message().find("--temperature"), std::string::npos);
  EXPECT_NE(check_sampling_options({.top_k = -1}).message().find("--top-k"), std::string::npos);
  EXPECT_NE(check_sampling_options({.top_p = 0}).message().find("--top-p"), std::string::npos);
  EXPECT_NE(check_sampling_options({.top_p = 1.5}).message().find("--top-p"), std::string::npos);
}

}  // namespace
}  // namespace tessera::runtime
