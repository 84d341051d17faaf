/// The first law: every way to spread the job over ranks trains to the loss curve of one rank.
#include "runtime/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/comm/local_comm.h"
#include "tests/runtime/train/train_test_support.h"

namespace tessera::runtime {
namespace {

struct Curve {
  std::vector<double> losses;
  std::vector<double> norms;
  EvalResult eval;
  std::vector<float> parameters;
};

class TrainerTest : public testing::TrainJob {
 protected:
  static void expect_ok(const Status& status) { ASSERT_TRUE(status.ok()) << status.message(); }

  /// Trains `steps` steps on `ranks` threads, from the checkpoint `from` if given, saving at the end below
  /// `save` if given. What rank 0 saw; every rank must have seen the same.
  static Curve train(const planner::TrainSpec& spec, int ranks, std::int64_t steps,
                     const std::string& from = "", const std::string& save = "") {
    std::vector<Curve> curves(static_cast<std::size_t>(ranks));
    run_local_ranks(ranks, [&](Communicator& world) {
      Curve& mine = curves[static_cast<std::size_t>(world.rank().value)];
      const SystemClock clock;
      const Result<TrainInputs> inputs = load_train_inputs(spec, ranks);
      expect_ok(inputs.status());
      const auto made = Trainer::make(world, inputs.value(), clock);
      expect_ok(made.status());
      Trainer& trainer = *made.value();
      if (!from.empty()) expect_ok(trainer.load(from));
      for (std::int64_t s = 0; s < steps; ++s) {
        const StepResult result = trainer.step();
        mine.losses.push_back(result.loss);
        mine.norms.push_back(result.gradient_norm);
      }
      mine.eval = trainer.evaluate();
      mine.parameters.assign(trainer.parameters(), trainer.parameters() + trainer.layout().total());
      if (!save.empty()) expect_ok(trainer.save(save, 3));
    });
    for (const Curve& curve : curves) {
      EXPECT_EQ(curve.losses, curves[0].losses);
      EXPECT_EQ(curve.norms, curves[0].norms);
      EXPECT_EQ(curve.parameters, curves[0].parameters);
    }
    return curves[0];
  }

  static double distance(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    double most = 0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      most = std::max(most, std::abs(a[i] - b[i]));
    return most;
  }

  /// How far sums in another order move the curve: one rank, the same batch as one micro-batch instead of
  /// four (about 3e-8). Another layout reorders sums of the same lengths (gradients) and cuts attention's
  /// rows besides, so its distance is of the same size (2e-8 to 5e-8): sixteen times it, and never less than
  /// one unit in the last place of a single token's loss, 5.5 * 2^-23 = 6e-7.
  static double tolerance(const planner::TrainSpec& spec, const Curve& one) {
    planner::TrainSpec reordered = spec;
    reordered.micro_batch = spec.global_batch;
    const double moved = distance(train(reordered, 1, spec.steps).losses, one.losses);
    EXPECT_LT(moved, 1e-3) << "rounding must stay rounding";
    return std::max(16 * moved, 6e-7);
  }
};

struct Layout {
  int data;
  const char* mesh;
  int ranks;
  const char* layout;
  std::int64_t micro_batch;
  const char* recompute;
};

TEST_F(TrainerTest, EveryLayoutTrainsToTheCurveOfOneRank) {
  planner::TrainSpec one = spec();
  const Curve expected = train(one, 1, one.steps);
  ASSERT_LT(expected.losses.back(), expected.losses.front() - 2) << "the model must have learnt something";
  const double limit = tolerance(one, expected);
  for (const Layout& l :
       {Layout{1, "1x2", 2, "zigzag", 1, "off"}, Layout{2, "1x1", 2, "contiguous", 2, "on"},
        Layout{1, "2x2", 4, "zigzag", 2, "off"}, Layout{1, "2x2", 4, "striped", 4, "on"},
        Layout{2, "2x1", 4, "contiguous", 1, "off"}, Layout{4, "1x1", 4, "zigzag", 1, "off"},
        Layout{1, "2x3", 6, "zigzag", 4, "off"}, Layout{1, "u2:1x2", 4, "zigzag", 1, "off"},
        Layout{2, "2x2", 8, "zigzag", 1, "off"}, Layout{1, "auto", 3, "zigzag", 1, "off"}}) {
    SCOPED_TRACE(std::string(l.mesh) + " x data " + std::to_string(l.data) + ", " + l.layout);
    planner::TrainSpec other = one;
    other.data_parallel = l.data;
    other.mesh = l.mesh;
    other.layout = l.layout;
    other.micro_batch = l.micro_batch;
    other.recompute = l.recompute;
    const Curve got = train(other, l.ranks, one.steps);
    EXPECT_LE(distance(got.losses, expected.losses), limit);
    EXPECT_NEAR(got.eval.loss, expected.eval.loss, limit);
    EXPECT_EQ(got.eval.labels, expected.eval.labels);
  }
}

TEST_F(TrainerTest, DropoutAndWindowAreTheSameOnEveryLayout) {
  planner::TrainSpec one = spec();
  one.dropout = 0.2;
  one.window = 23;
  one.steps = 15;
  const Curve expected = train(one, 1, one.steps);
  const double limit = tolerance(one, expected);
  planner::TrainSpec other = one;
  other.data_parallel = 2;
  other.mesh = "1x3";
  other.layout = "striped";
  EXPECT_LE(distance(train(other, 6, one.steps).losses, expected.losses), limit);
  planner::TrainSpec none = one;
  none.dropout = 0;
  EXPECT_GT(distance(train(none, 1, one.steps).losses, expected.losses), 10 * limit);
}

TEST_F(TrainerTest, ARunRepeatsBitForBit) {
  planner::TrainSpec job = spec();
  job.data_parallel = 2;
  job.mesh = "1x2";
  const Curve a = train(job, 4, 10);
  const Curve b = train(job, 4, 10);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.parameters, b.parameters);
}

TEST_F(TrainerTest, ResumingOnTheSameLayoutIsBitExact) {
  planner::TrainSpec job = spec();
  job.data_parallel = 2;
  job.mesh = "2x1";
  job.dropout = 0.1;
  const Curve whole = train(job, 4, 12);
  const std::string root = directory_ + "/checkpoints";
  const Curve first = train(job, 4, 7, "", root);
  const Curve second = train(job, 4, 5, list_checkpoints(root).at(0).directory);
  std::vector<double> losses = first.losses;
  losses.insert(losses.end(), second.losses.begin(), second.losses.end());
  EXPECT_EQ(losses, whole.losses);
  EXPECT_EQ(second.parameters, whole.parameters);
  EXPECT_EQ(second.eval.loss, whole.eval.loss);
}

TEST_F(TrainerTest, ResumingOnAnotherLayoutFollowsTheSameCurve) {
  planner::TrainSpec one = spec();
  one.steps = 30;
  const Curve whole = train(one, 1, one.steps);
  const double limit = tolerance(one, whole);
  planner::TrainSpec before = one;
  before.mesh = "2x2";
  const std::string root = directory_ + "/checkpoints";
  (void)train(before, 4, 15, "", root);
  planner::TrainSpec after = one;
  after.data_parallel = 2;
  after.mesh = "1x3";
  after.micro_batch = 2;
  const Curve second = train(after, 6, 15, list_checkpoints(root).at(0).directory);
  EXPECT_LE(distance(second.losses, {whole.losses.begin() + 15, whole.losses.end()}), limit);
}

TEST_F(TrainerTest, ClippingBoundsTheStepAndMasksTheNorm) {
  planner::TrainSpec job = spec();
  job.clip = 0;
  const Curve free = train(job, 1, 3);
  job.clip = 1e-4;  // Adam's step hardly depends on the scale; the reported norm is that before clipping
  const Curve clipped = train(job, 1, 3);
  EXPECT_EQ(free.losses[0], clipped.losses[0]);
  EXPECT_EQ(free.norms[0], clipped.norms[0]);
  EXPECT_GT(clipped.norms[0], 1e-4);
}

TEST_F(TrainerTest, AHopelessLearningRateEndsWithAReason) {
  planner::TrainSpec job = spec();
  job.learning_rate = 1000;
  job.min_learning_rate = 0;
  job.schedule = "constant";
  job.warmup = 0;
  job.clip = 0;
  job.weight_decay = 900;  // each step multiplies the weights by -900000
  try {
    (void)train(job, 2, 20);
    FAIL() << "twenty steps of that must overflow";
  } catch (const DivergedError& e) {
    EXPECT_NE(std::string(e.what()).find("Lower --learning-rate"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tessera::runtime
