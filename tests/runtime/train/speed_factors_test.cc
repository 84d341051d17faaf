#include "runtime/train/speed_factors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

planner::TrainSpec with(std::vector<std::string> factors) {
  planner::TrainSpec spec;
  spec.speed_factors = std::move(factors);
  return spec;
}

TEST(SpeedFactorsTest, OneForAllOrOnePerRank) {
  EXPECT_THAT(speed_factors(with({}), 3).value(), ElementsAre(1, 1, 1));
  EXPECT_THAT(speed_factors(with({"0.5"}), 3).value(), ElementsAre(0.5, 0.5, 0.5));
  EXPECT_THAT(speed_factors(with({"1", "0.25", "0.5"}), 3).value(), ElementsAre(1, 0.25, 0.5));
}

TEST(SpeedFactorsTest, RefusesWhatIsNoSpeed) {
  for (const char* bad : {"0", "-1", "1.5", "nan", "inf", "", "0.5x", "fast"}) {
    const auto found = speed_factors(with({bad}), 2);
    ASSERT_FALSE(found.ok()) << bad;
    EXPECT_EQ(found.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(found.status().message(), HasSubstr("--speed-factors"));
  }
  const auto few = speed_factors(with({"1", "0.5"}), 3);
  ASSERT_FALSE(few.ok());
  EXPECT_THAT(few.status().message(), HasSubstr("3, the number of ranks"));
}

class SlowRanksTest : public testing::PlanJob {};

TEST_F(SlowRanksTest, TrainToTheSameBits) {
  for (const testing::PlanCase& c : testing::plan_cases()) {
    // One with unequal pipelines, one with tensor-parallel ranks.
    if (std::string(c.name) != "depths 1 and 3, tied" && std::string(c.name) != "tensor 3, tied") continue;
    planner::TrainSpec spec = job(c.tied);
    spec.plan = directory_ + "/plan.json";
    const int ranks = write(c, spec, spec.plan);
    const testing::Curve plain = train(spec, ranks, 3);
    for (int r = 0; r < ranks; ++r) spec.speed_factors.push_back(r % 2 == 0 ? "1" : "0.3");
    spec.busy_wait = "on";
    const testing::Curve slow = train(spec, ranks, 3);
    EXPECT_EQ(slow.losses, plain.losses) << c.name;
    EXPECT_EQ(slow.norms, plain.norms) << c.name;
    EXPECT_EQ(slow.parameters, plain.parameters) << c.name;
    EXPECT_FALSE(plain.parameters.empty());
  }
}

}  // namespace
}  // namespace tessera::runtime
