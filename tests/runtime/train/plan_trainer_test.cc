/// The first law for plans: unequal groups, cuts, micro-batches, tensor ranks, meshes, recomputation and tied
/// embeddings train to the loss curve of one rank, and checkpoints go from any plan to any other.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/model/hf_checkpoint.h"
#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

using testing::Curve;
using testing::plan_cases;
using testing::PlanCase;

class PlanTrainerTest : public testing::PlanJob {};

TEST_F(PlanTrainerTest, EveryPlanTrainsToTheCurveOfOneRank) {
  for (const bool tied : {false, true}) {
    const planner::TrainSpec one = job(tied);
    const Curve expected = train(one, 1, one.steps);
    ASSERT_LT(expected.losses.back(), expected.losses.front() - 0.5)
        << "the model must have learnt something";
    const double limit = tolerance(one, expected);
    for (const PlanCase& c : plan_cases()) {
      if (c.tied != tied) continue;
      SCOPED_TRACE(c.name);
      planner::TrainSpec planned = one;
      planned.plan = directory_ + "/plan.json";
      const int ranks = write(c, planned, planned.plan);
      expect_same_curve(train(planned, ranks, one.steps), expected, limit);
    }
  }
}

TEST_F(PlanTrainerTest, FlagsMakeSymmetricPlans) {
  const planner::TrainSpec one = job(true);
  const Curve expected = train(one, 1, 4);
  planner::TrainSpec flags = one;
  flags.data_parallel = 2;
  flags.pipeline_parallel = 2;
  flags.tensor_parallel = 3;
  flags.recompute = "on";
  const Curve got = train(flags, 12, 4);
  EXPECT_LE(distance(got.losses, expected.losses), 2e-6);
}

/// A run goes on bit for bit on the same plan, and within rounding on any other; the parameters themselves
/// pass from plan to plan unchanged.
TEST_F(PlanTrainerTest, CheckpointsGoFromAnyPlanToAnyOther) {
  const planner::TrainSpec one = job(true);
  const std::vector<std::string> names = {"depths 1 and 3, tied", "tensor 3, unequal groups",
                                          "mesh 2x2, two stages", "recomputed here and there, tensor 3"};
  const Curve straight = train(one, 1, 6);
  std::string from;
  Curve last;
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const auto c = std::find_if(plan_cases().begin(), plan_cases().end(),
                                [&](const PlanCase& x) { return x.name == name; });
    ASSERT_NE(c, plan_cases().end());
    planner::TrainSpec planned = one;
    planned.plan = directory_ + "/" + std::to_string(c - plan_cases().begin()) + ".json";
    const int ranks = write(*c, planned, planned.plan);
    if (!from.empty()) {
      EXPECT_EQ(train(planned, ranks, 0, from).parameters, last.parameters) << "loaded as they were saved";
    }
    const std::string checkpoints = directory_ + "/" + std::to_string(c - plan_cases().begin());
    const Curve first_half = train(planned, ranks, 3, from, checkpoints);
    from = list_checkpoints(checkpoints).front().directory;
    last = first_half;
    const Curve again = train(planned, ranks, 2, from);
    EXPECT_EQ(again.losses, train(planned, ranks, 2, from).losses);
  }
  // Each went three steps on from the one before it.
  planner::TrainSpec longer = one;
  const Curve whole = train(longer, 1, 12);
  EXPECT_NEAR(last.losses.back(), whole.losses.back(), 1e-5);
}

TEST_F(PlanTrainerTest, OnTheSamePlanARunGoesOnBitForBit) {
  const PlanCase& c = *std::find_if(plan_cases().begin(), plan_cases().end(), [](const PlanCase& x) {
    return std::string(x.name) == "tensor 3, mesh 1x2, two groups";
  });
  planner::TrainSpec planned = job(true);
  planned.plan = directory_ + "/plan.json";
  const int ranks = write(c, planned, planned.plan);
  const Curve straight = train(planned, ranks, 6);
  const Curve first = train(planned, ranks, 3, "", directory_ + "/checkpoints");
  const Curve second =
      train(planned, ranks, 3, list_checkpoints(directory_ + "/checkpoints").front().directory);
  for (std::size_t s = 0; s < 3; ++s) {
    EXPECT_EQ(first.losses[s], straight.losses[s]);
    EXPECT_EQ(second.losses[s], straight.losses[s + 3]);
    EXPECT_EQ(second.norms[s], straight.norms[s + 3]);
  }
  EXPECT_EQ(second.parameters, straight.parameters);
}

/// Weights of a Hugging Face directory reach every slice.
TEST_F(PlanTrainerTest, StartsFromAHuggingFaceDirectory) {
  const Curve trained = train(job(true), 1, 3);
  const planner::ModelSpec model = planner::read_model_spec(config(true)).value();
  const std::string directory = directory_ + "/hf";
  ASSERT_TRUE(
      write_hf_directory(directory, model, ParameterLayout(model), trained.parameters.data(), {}).ok());
  planner::TrainSpec planned = job(true);
  planned.model = directory;
  planned.plan = directory_ + "/plan.json";
  const PlanCase& c = *std::find_if(plan_cases().begin(), plan_cases().end(), [](const PlanCase& x) {
    return std::string(x.name) == "tensor 3, unequal groups";
  });
  const int ranks = write(c, planned, planned.plan);
  EXPECT_EQ(train(planned, ranks, 0).parameters, trained.parameters);
}

TEST_F(PlanTrainerTest, APlanForAnotherRunIsRefusedWithTheDifferences) {
  planner::TrainSpec planned = job(true);
  planned.plan = directory_ + "/plan.json";
  const int ranks = write(plan_cases()[1], planned, planned.plan);
  ASSERT_TRUE(load_train_inputs(planned, ranks).ok());
  const auto complaint = [&](const planner::TrainSpec& other, int n) {
    return load_train_inputs(other, n).status().message();
  };
  EXPECT_NE(complaint(planned, ranks + 1).find("ranks: plan 3, run 4"), std::string::npos)
      << complaint(planned, ranks + 1);
  planner::TrainSpec other = planned;
  other.sequence_length = 30;
  other.global_batch = 24;
  other.mesh = "2x1";
  for (const char* part : {"sequence_length: plan 29, run 30", "global_batch: plan 12, run 24",
                           "mesh: plan 1x1, run 2x1", "tessera-plan"}) {
    EXPECT_NE(complaint(other, ranks).find(part), std::string::npos) << part << "\n"
                                                                     << complaint(other, ranks);
  }
  other = planned;
  other.model = config(false);
  EXPECT_NE(complaint(other, ranks).find("tie_word_embeddings: plan true, run false"), std::string::npos);
}

}  // namespace
}  // namespace tessera::runtime
