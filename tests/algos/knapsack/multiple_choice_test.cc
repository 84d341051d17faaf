// solve_multiple_choice() against all assignments.
#include "algos/knapsack/multiple_choice.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/algos/knapsack/brute_force.h"

namespace tessera::knapsack {
namespace {

using Layers = std::vector<std::vector<Choice>>;

void expect_consistent(const Layers& layers, std::int64_t budget, const Assignment& assignment) {
  ASSERT_EQ(assignment.choice.size(), layers.size());
  std::int64_t cost = 0;
  std::int64_t memory = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    ASSERT_LT(assignment.choice[l], layers[l].size());
    cost += layers[l][assignment.choice[l]].cost;
    memory += layers[l][assignment.choice[l]].memory;
  }
  EXPECT_EQ(cost, assignment.cost);
  EXPECT_EQ(memory, assignment.memory);
  EXPECT_LE(memory, budget);
  EXPECT_GE(assignment.cost, assignment.lower_bound);
}

TEST(MultipleChoice, CertificateHoldsWhateverTheLimits) {
  std::mt19937_64 random(2);
  int infeasible = 0;
  int unproven = 0;
  const int runs = 40000;
  for (int run = 0; run < runs; ++run) {
    const auto draw = [&](std::int64_t most) {
      return std::uniform_int_distribution<std::int64_t>(0, most)(random);
    };
    Layers layers(static_cast<std::size_t>(draw(6)));
    const std::int64_t range = 1 + draw(25);
    std::int64_t most = 0;
    for (auto& layer : layers) {
      std::int64_t memory = 0;
      for (std::int64_t c = draw(3); c >= 0; --c) {
        layer.push_back({draw(range), draw(range)});
        memory = std::max(memory, layer.back().memory);
      }
      most += memory;
    }
    if (run % 4 == 0 && !layers.empty()) std::fill(layers.begin(), layers.end(), layers[0]);
    const std::int64_t budget = draw(most + 1);
    const std::int64_t best = best_assignment(layers, budget);
    Limits limits;
    limits.max_states = 1 + draw(3);
    if (run % 3 == 0) limits.max_work = 1 + draw(20);
    const auto assignment = solve_multiple_choice(layers, budget, limits);
    if (best < 0) {
      ++infeasible;
      ASSERT_EQ(assignment.status().code(), Code::kResourceExhausted) << run;
      continue;
    }
    ASSERT_TRUE(assignment.ok()) << assignment.status().message();
    expect_consistent(layers, budget, assignment.value());
    ASSERT_LE(assignment->lower_bound, best) << run;
    ASSERT_GE(assignment->cost, best) << run;
    unproven += assignment->proven() ? 0 : 1;
    const auto exact = solve_multiple_choice(layers, budget);
    ASSERT_TRUE(exact->proven()) << run;
    ASSERT_EQ(exact->cost, best) << run;
  }
  EXPECT_GT(infeasible, runs / 100);
  EXPECT_GT(unproven, runs / 1000);
}

TEST(MultipleChoice, EqualsTheTableOnModelsOfManyLayers) {
  // Layers as a transformer has them: mostly equal, a few different ones at the ends, or all different.
  std::mt19937_64 random(3);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  const auto layer = [&] {
    std::vector<Choice> choices;
    for (std::int64_t c = draw(1, 8); c >= 0; --c) choices.push_back({draw(0, 300), draw(0, 120)});
    return choices;
  };
  for (int run = 0; run < 60; ++run) {
    Layers layers(static_cast<std::size_t>(draw(20, 100)), layer());
    if (run % 3 == 1) layers.front() = layers.back() = layer();
    if (run % 3 == 2) std::generate(layers.begin(), layers.end(), layer);
    std::int64_t least = 0;
    std::int64_t most = 0;
    for (const auto& choices : layers) {
      const auto [low, high] =
          std::minmax_element(choices.begin(), choices.end(),
                              [](const Choice& a, const Choice& b) { return a.memory < b.memory; });
      least += low->memory;
      most += high->memory;
    }
    const std::int64_t budget = draw(least, most);
    const auto assignment = solve_multiple_choice(layers, budget);
    ASSERT_TRUE(assignment.ok()) << assignment.status().message();
    expect_consistent(layers, budget, assignment.value());
    EXPECT_EQ(assignment->cost, best_assignment_by_table(layers, budget)) << run;
    EXPECT_TRUE(assignment->proven()) << run;
  }
}

TEST(MultipleChoice, IsExactNearTheLimitsOfTheType) {
  std::mt19937_64 random(5);
  for (int run = 0; run < 2000; ++run) {
    const auto draw = [&](std::int64_t most) {
      return std::uniform_int_distribution<std::int64_t>(0, most)(random);
    };
    // Five layers below 2^59 sum to less than 2^62; products of such numbers need 128 bits.
    const std::int64_t range = (std::int64_t{1} << 59) - 1;
    Layers layers(5);
    for (auto& choices : layers)
      choices = {{draw(range), draw(range)}, {draw(range), draw(range)}, {draw(range), draw(range)}};
    const std::int64_t budget = 2 * range + draw(range);
    const std::int64_t best = best_assignment(layers, budget);
    const auto assignment = solve_multiple_choice(layers, budget);
    ASSERT_EQ(assignment.ok(), best >= 0) << run;
    if (best < 0) continue;
    expect_consistent(layers, budget, assignment.value());
    ASSERT_TRUE(assignment->proven());
    ASSERT_EQ(assignment->cost, best) << run;
  }
}

TEST(MultipleChoice, TheExampleOfTheHeader) {
  const Layers layers(3, {{0, 5}, {2, 1}});
  const auto assignment = solve_multiple_choice(layers, 10);
  EXPECT_EQ(assignment->cost, 4);
  EXPECT_EQ(assignment->memory, 7);
  EXPECT_TRUE(assignment->proven());
}

TEST(MultipleChoice, AnswersWithoutLayers) {
  const auto assignment = solve_multiple_choice({}, 0);
  EXPECT_EQ(assignment->cost, 0);
  EXPECT_TRUE(assignment->choice.empty());
  EXPECT_TRUE(assignment->proven());
}

TEST(MultipleChoice, SaysWhatIsWrong) {
  const auto message = [](const Layers& layers, std::int64_t budget) {
    return solve_multiple_choice(layers, budget).status().message();
  };
  EXPECT_NE(message({{{0, 5}}, {{1, 7}, {3, 6}}}, 10).find("at least 11"), std::string::npos);
  EXPECT_NE(message({{{0, 5}}}, -1).find("budget"), std::string::npos);
  EXPECT_NE(message({{{0, 5}}, {}}, 10).find("layers[1]"), std::string::npos);
  EXPECT_NE(message({{{0, 5}, {-1, 5}}}, 10).find("layers[0][1].cost"), std::string::npos);
  EXPECT_NE(message({{{0, 5}, {0, -2}}}, 10).find("layers[0][1].memory"), std::string::npos);
  const std::int64_t half = std::int64_t{1} << 61;
  EXPECT_NE(message({{{half, 1}}, {{half, 1}}}, 10).find("layers[1].cost"), std::string::npos);
  Limits none;
  none.max_states = 0;
  EXPECT_NE(solve_multiple_choice(Layers{}, 1, none).status().message().find("max_states"),
            std::string::npos);
  EXPECT_NE(message({{{1, half}}, {{1, half}}}, 10).find("layers[1].memory"), std::string::npos);
}

}  // namespace
}  // namespace tessera::knapsack
