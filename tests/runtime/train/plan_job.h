/// Plans of every kind for one small model and run, and the curve that a plan trains to.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner/plan/check_structure.h"
#include "planner/plan/plan.h"
#include "runtime/comm/local_comm.h"
#include "runtime/train/trainer.h"
#include "tests/runtime/train/train_test_support.h"

namespace tessera::runtime::testing {

struct GroupCase {
  std::int64_t micro_batches = 0;
  std::vector<int> cuts;  // layers of each stage
};

struct PlanCase {
  const char* name;
  bool tied = false;
  int tensor = 1;
  const char* mesh = "1x1";
  std::int64_t micro_batch = 1;
  std::vector<GroupCase> groups;
  std::vector<planner::Recompute> recompute = {};  // of layers 0, 1, ... of every group; empty: none
  int idle_devices = 0;
};

constexpr int kLayers = 5;
constexpr auto kN = planner::Recompute::kNone;
constexpr auto kS = planner::Recompute::kSelective;
constexpr auto kF = planner::Recompute::kFull;

// 12 sequences a step. t tensor ranks divide 6 heads and 3 key/value heads; feed-forward width and vocabulary
// do not divide by 3.
inline const std::vector<PlanCase>& plan_cases() {
  static const std::vector<PlanCase> all = {
      {"two stages", false, 1, "1x1", 1, {{12, {2, 3}}}},
      {"three stages, tied", true, 1, "1x1", 2, {{6, {1, 3, 1}}}},
      {"one layer per stage", true, 1, "1x1", 1, {{12, {1, 1, 1, 1, 1}}}},
      {"fewer micro-batches than stages", true, 1, "1x1", 6, {{2, {1, 1, 1, 2}}}},
      {"depths 1 and 3", false, 1, "1x1", 1, {{7, {5}}, {5, {1, 2, 2}}}},
      {"depths 1 and 3, tied", true, 1, "1x1", 1, {{7, {5}}, {5, {1, 2, 2}}}},
      {"equal depth, unequal cuts", false, 1, "1x1", 1, {{6, {2, 3}}, {6, {4, 1}}}},
      {"three groups, all different", true, 1, "1x1", 1, {{1, {1, 4}}, {8, {3, 1, 1}}, {3, {5}}}},
      {"unequal micro-batches, equal cuts", false, 1, "1x1", 2, {{5, {3, 2}}, {1, {3, 2}}}},
      {"tensor 3", false, 3, "1x1", 2, {{6, {5}}}},
      {"tensor 3, tied", true, 3, "1x1", 2, {{6, {5}}}},
      {"tensor 3, two stages", true, 3, "1x1", 1, {{12, {3, 2}}}},
      {"tensor 3, unequal groups", true, 3, "1x1", 1, {{7, {5}}, {5, {2, 3}}}},
      {"mesh 1x2, two stages", false, 1, "1x2", 1, {{12, {3, 2}}}},
      {"mesh 2x1, unequal groups", true, 1, "2x1", 1, {{4, {2, 3}}, {8, {4, 1}}}},
      {"mesh 2x2, two stages", true, 1, "2x2", 3, {{4, {2, 3}}}},
      {"head-parallel mesh, two stages", false, 1, "u3:1x1", 1, {{12, {2, 3}}}},
      {"tensor 3, mesh 1x2, two groups", true, 3, "1x2", 1, {{8, {5}}, {4, {3, 2}}}},
      {"recomputed throughout", true, 1, "1x1", 1, {{7, {2, 3}}, {5, {5}}}, {kS, kS, kS, kS, kS}},
      {"recomputed in full, mesh 1x2", false, 1, "1x2", 1, {{12, {1, 4}}}, {kF, kF, kF, kF, kF}},
      {"recomputed here and there, tensor 3",
       true,
       3,
       "1x1",
       1,
       {{7, {2, 3}}, {5, {5}}},
       {kN, kF, kS, kN, kS}},
      {"an idle device", true, 1, "1x1", 1, {{9, {2, 3}}, {3, {5}}}, {}, 2},
  };
  return all;
}

struct Curve {
  std::vector<double> losses;
  std::vector<double> norms;
  EvalResult eval;
  std::vector<float> parameters;  // of the whole model
};

class PlanJob : public TrainJob {
 protected:
  void SetUp() override {
    TrainJob::SetUp();
    for (const bool tied : {false, true}) {
      std::ofstream(config(tied)) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 5, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 8, "vocab_size": 256, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "initializer_range": 0.05, "tie_word_embeddings": )"
                                  << (tied ? "true" : "false") << "}";
    }
  }
  [[nodiscard]] std::string config(bool tied) const {
    return directory_ + (tied ? "/tied.json" : "/untied.json");
  }

  [[nodiscard]] planner::TrainSpec job(bool tied) const {
    planner::TrainSpec job = spec();
    job.model = config(tied);
    job.sequence_length = 29;
    job.global_batch = 12;
    job.steps = 12;
    job.warmup = 3;
    return job;
  }

  /// Writes the plan of a case; returns its number of ranks.
  int write(const PlanCase& c, const planner::TrainSpec& job, const std::string& path) const {
    const planner::ModelSpec model = planner::read_model_spec(config(c.tied)).value();
    planner::Plan plan;
    plan.layers = kLayers;
    plan.tied_embeddings = c.tied;
    plan.parameters = model.parameters();
    plan.sequence_length = job.sequence_length;
    plan.global_batch = job.global_batch;
    plan.tensor_parallel = c.tensor;
    plan.context = parse_mesh_shape(c.mesh).value();
    plan.micro_batch = c.micro_batch;
    int device = c.idle_devices;  // the first ones stay idle
    for (const GroupCase& group : c.groups) {
      planner::DeviceGroup made;
      made.micro_batches = group.micro_batches;
      int layer = 0;
      for (const int layers : group.cuts) {
        planner::Stage stage;
        stage.first_layer = layer;
        stage.layers = layers;
        for (int l = layer; l < layer + layers; ++l) {
          stage.recompute.push_back(c.recompute.empty() ? kN : c.recompute[static_cast<std::size_t>(l)]);
        }
        layer += layers;
        for (int i = 0; i < plan.stage_devices(); ++i) stage.devices.push_back({0, device++});
        made.stages.push_back(stage);
      }
      plan.groups.push_back(made);
    }
    plan.nodes = {{"node", "cpu", device}};
    EXPECT_TRUE(planner::check_structure(plan, path).ok()) << planner::check_structure(plan, path).message();
    EXPECT_TRUE(planner::write_plan(plan, path).ok());
    return plan.ranks();
  }

  /// One rank's part; what it saw.
  static void train_rank(Communicator& world, const planner::TrainSpec& job, std::int64_t steps,
                         const std::string& from, const std::string& save, Curve& mine) {
    const SystemClock clock;
    const Result<TrainInputs> inputs = load_train_inputs(job, world.size());
    ASSERT_TRUE(inputs.ok()) << inputs.status().message();
    const auto made = Trainer::make(world, inputs.value(), clock);
    ASSERT_TRUE(made.ok()) << made.status().message();
    Trainer& trainer = *made.value();
    if (!from.empty()) {
      const Status status = trainer.load(from);
      ASSERT_TRUE(status.ok()) << status.message();
    }
    for (std::int64_t s = 0; s < steps; ++s) {
      const StepResult result = trainer.step();
      mine.losses.push_back(result.loss);
      mine.norms.push_back(result.gradient_norm);
    }
    mine.eval = trainer.evaluate();
    kernels::Buffer<float> memory;
    const auto parameters = trainer.gather_parameters(memory);
    mine.parameters.assign(parameters.begin(), parameters.end());
    if (!save.empty()) {
      const Status status = trainer.save(save, 3);
      ASSERT_TRUE(status.ok()) << status.message();
    }
  }

  static Curve train(const planner::TrainSpec& job, int ranks, std::int64_t steps,
                     const std::string& from = "", const std::string& save = "") {
    std::vector<Curve> curves(static_cast<std::size_t>(ranks));
    run_local_ranks(ranks, [&](Communicator& world) {
      train_rank(world, job, steps, from, save, curves[static_cast<std::size_t>(world.rank().value)]);
    });
    for (const Curve& curve : curves) {
      EXPECT_EQ(curve.losses, curves[0].losses);
      EXPECT_EQ(curve.norms, curves[0].norms);
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

  /// How far other orders of the same sums move the curve is measured with one rank and another micro-batch;
  /// a plan reorders sums of the same lengths (tensor ranks also the inner products): sixteen times that, and
  /// never less than one unit in the last place of a token's loss, 6e-7.
  static double tolerance(const planner::TrainSpec& one, const Curve& expected) {
    planner::TrainSpec reordered = one;
    reordered.micro_batch = one.global_batch;
    const double moved = distance(train(reordered, 1, one.steps).losses, expected.losses);
    EXPECT_LT(moved, 1e-5) << "rounding must stay rounding";
    return std::max(16 * moved, 6e-7);
  }

  static void expect_same_curve(const Curve& got, const Curve& expected, double limit) {
    EXPECT_LE(distance(got.losses, expected.losses), limit);
    for (std::size_t s = 0; s < got.norms.size(); ++s) {
      EXPECT_NEAR(got.norms[s], expected.norms[s], 1e-4 * expected.norms[s]) << "step " << s + 1;
    }
    EXPECT_NEAR(got.eval.loss, expected.eval.loss, limit);
    EXPECT_EQ(got.eval.labels, expected.eval.labels);
  }
};

}  // namespace tessera::runtime::testing
