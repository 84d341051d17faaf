#include "runtime/optim/lr_schedule.h"

#include <cmath>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

std::vector<double> rates(const LrSchedule& schedule, std::int64_t steps) {
  std::vector<double> all;
  for (std::int64_t s = 1; s <= steps; ++s) all.push_back(learning_rate(schedule, s));
  return all;
}

void expect_rates(const LrSchedule& schedule, const std::vector<double>& expected) {
  const std::vector<double> got = rates(schedule, static_cast<std::int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], 1e-15) << "step " << i + 1;
}

TEST(LrSchedule, LinearIsTheHeadersExample) {
  expect_rates({LrSchedule::Shape::kLinear, 1, 0.1, 2, 6}, {0.5, 1, 0.775, 0.55, 0.325, 0.1, 0.1});
}

TEST(LrSchedule, ConstantWarmsUpAndStays) {
  expect_rates({LrSchedule::Shape::kConstant, 2, 0.1, 4, 6}, {0.5, 1, 1.5, 2, 2, 2, 2});
}

TEST(LrSchedule, CosineFollowsItsFormula) {
  // PyTorch's CosineAnnealingLR with T_max = 4, eta_min = 0.2, by its closed form.
  std::vector<double> expected;
  for (int t = 1; t <= 4; ++t) expected.push_back(0.2 + 0.8 * (1 + std::cos(std::numbers::pi * t / 4)) / 2);
  expected.push_back(0.2);
  expect_rates({LrSchedule::Shape::kCosine, 1, 0.2, 0, 4}, expected);
}

TEST(LrSchedule, WsdStaysAndThenFallsInTheLastFifth) {
  expect_rates({LrSchedule::Shape::kWsd, 1, 0, 2, 10, 0.2}, {0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0});
}

TEST(LrSchedule, WarmupOfAllStepsNeverDividesByZero) {
  for (const auto shape : {LrSchedule::Shape::kLinear, LrSchedule::Shape::kCosine, LrSchedule::Shape::kWsd}) {
    EXPECT_EQ(learning_rate({shape, 1, 0.5, 3, 3, 0}, 3), 1);
    EXPECT_EQ(learning_rate({shape, 1, 0.5, 3, 3, 0}, 4), 0.5);
  }
}

TEST(LrSchedule, NamesAreThoseOfTheSettings) {
  EXPECT_EQ(parse_lr_shape("wsd").value(), LrSchedule::Shape::kWsd);
  EXPECT_FALSE(parse_lr_shape("exponential").ok());
}

}  // namespace
}  // namespace tessera::runtime
