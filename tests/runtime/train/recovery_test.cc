/// Runs that stop and go on from snapshots, ranks being threads that play several nodes: the same plan bit
/// for bit, any other within rounding, from every source, past everything that can be damaged.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/train/train_loop.h"
#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class RecoveryTest : public testing::PlanJob {
 protected:
  /// A constant learning rate: it depends on no number of steps, so that a run may stop anywhere.
  [[nodiscard]] planner::TrainSpec snapshot_job(bool tied) const {
    planner::TrainSpec job = this->job(tied);
    job.schedule = "constant";
    job.eval_interval = 0;
    job.export_dir = "none";
    job.tensorboard_dir = "none";
    job.resume = "auto";
    job.recovery_memory = directory_ + "/memory";
    job.recovery_disk = directory_ + "/disk";
    job.recovery_cloud = directory_ + "/cloud";
    job.recovery_interval = 3;
    job.log_style = "plain";
    return job;
  }

  /// A third of the plans, or all of them with TESSERA_ALL_PLANS set: a minute.
  static std::size_t stride() { return std::getenv("TESSERA_ALL_PLANS") != nullptr ? 1 : 3; }

  struct Outcome {
    Status status;
    RunReport report;
    std::string said;  // by rank 0
  };
  /// Rank r runs on nodes[r].
  static Outcome run(const planner::TrainSpec& job, const std::vector<std::string>& nodes) {
    Outcome outcome;
    run_local_ranks(static_cast<int>(nodes.size()), [&](Communicator& world) {
      planner::TrainSpec mine = job;
      mine.node_name = nodes[static_cast<std::size_t>(world.rank().value)];
      const SystemClock clock;
      std::string said;
      const Result<RunReport> report =
          runtime::train(world, mine, {[&said](const std::string& text) { said += text; }, false}, clock);
      if (world.rank() != Rank(0)) return;
      outcome.status = report.ok() ? Status() : report.status();
      if (report.ok()) outcome.report = report.value();
      outcome.said = said;
    });
    return outcome;
  }

  /// Losses by step, of whatever metrics.jsonl holds; a step that was done again counts once.
  static std::vector<double> losses(const planner::TrainSpec& job) {
    std::vector<double> losses;
    std::ifstream file(job.out + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      const json object = json::parse(line);
      if (!object.contains("loss")) continue;
      EXPECT_EQ(object["step"].get<std::size_t>(), losses.size() + 1) << "no step is missing or done twice";
      losses.push_back(object["loss"].get<double>());
    }
    return losses;
  }

  /// Ranks in order on `count` nodes named with this letter and up.
  static std::vector<std::string> nodes(int ranks, int count, char first = 'a') {
    std::vector<std::string> names;
    for (int r = 0; r < ranks; ++r) names.emplace_back(1, static_cast<char>(first + r * count / ranks));
    return names;
  }

  [[nodiscard]] std::vector<fs::path> packs(const std::string& place) const {
    std::vector<fs::path> found;
    if (!fs::exists(directory_ + "/" + place)) return found;
    for (const auto& item : fs::recursive_directory_iterator(directory_ + "/" + place)) {
      if (item.path().extension() == ".pack") found.push_back(item.path());
    }
    std::ranges::sort(found);
    return found;
  }
  static void flip_byte(const fs::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(fs::file_size(path) / 2));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
    file.put(byte);
  }
  /// Checkpoints would be an equally new state.
  void forget_checkpoints(const planner::TrainSpec& job) const { fs::remove_all(job.out + "/checkpoints"); }
};

TEST_F(RecoveryTest, TheSamePlanGoesOnBitForBit) {
  for (std::size_t i = 0; i < testing::plan_cases().size(); i += stride()) {
    const testing::PlanCase& c = testing::plan_cases()[i];
    SCOPED_TRACE(c.name);
    planner::TrainSpec whole = snapshot_job(c.tied);
    whole.plan = directory_ + "/plan.json";
    const int ranks = write(c, whole, whole.plan);
    whole.recovery_memory = whole.recovery_disk = whole.recovery_cloud = "";
    whole.out = directory_ + "/whole";
    ASSERT_TRUE(run(whole, nodes(ranks, 1)).status.ok());
    planner::TrainSpec parts = snapshot_job(c.tied);
    parts.recovery_disk = parts.recovery_cloud = "";  // nothing waits for a disk
    parts.plan = whole.plan;
    parts.steps = 7;
    const Outcome first = run(parts, nodes(ranks, std::min(ranks, 2)));
    ASSERT_TRUE(first.status.ok()) << first.status.message();
    EXPECT_EQ(first.report.snapshots.taken, 3);  // steps 3, 6, and the last
    EXPECT_EQ(first.report.snapshots.failed, 0);
    EXPECT_EQ(first.report.snapshots.last_step, 7);
    forget_checkpoints(parts);
    parts.steps = whole.steps;
    const Outcome second = run(parts, nodes(ranks, std::min(ranks, 2)));
    ASSERT_TRUE(second.status.ok()) << second.status.message();
    EXPECT_EQ(second.report.restored.step, 7);
    EXPECT_EQ(second.report.restored.state_hash, first.report.snapshots.last_hash);
    EXPECT_EQ(second.report.restored.bytes.cloud, 0);
    EXPECT_EQ(losses(parts), losses(whole));
    for (const char* place : {"memory", "disk", "cloud", "out", "whole"})
      fs::remove_all(directory_ + "/" + place);
  }
}

/// From each plan to the next of the list of the same model: tensor ranks, cuts, depth, groups, meshes
/// change.
TEST_F(RecoveryTest, AnyPlanGoesOnFromAnyOther) {
  for (const bool tied : {false, true}) {
    planner::TrainSpec one = snapshot_job(tied);
    one.recovery_memory = one.recovery_disk = one.recovery_cloud = "";
    one.out = directory_ + "/one";
    ASSERT_TRUE(run(one, {"a"}).status.ok());
    const std::vector<double> expected = losses(one);
    planner::TrainSpec plain = job(tied);
    plain.schedule = "constant";
    const double limit = tolerance(plain, train(plain, 1, plain.steps));
    fs::remove_all(one.out);

    std::vector<const testing::PlanCase*> cases;
    for (const testing::PlanCase& c : testing::plan_cases()) {
      if (c.tied == tied) cases.push_back(&c);
    }
    for (std::size_t i = 0; i < cases.size(); i += stride()) {
      const testing::PlanCase& from = *cases[i];
      const testing::PlanCase& to = *cases[(i + 1) % cases.size()];
      SCOPED_TRACE(std::string(from.name) + " -> " + to.name);
      planner::TrainSpec parts = snapshot_job(tied);
      parts.recovery_disk = parts.recovery_cloud = "";
      parts.plan = directory_ + "/plan.json";
      int ranks = write(from, parts, parts.plan);
      parts.steps = 6;
      const Outcome first = run(parts, nodes(ranks, std::min(ranks, 3)));
      ASSERT_TRUE(first.status.ok()) << first.status.message();
      forget_checkpoints(parts);
      ranks = write(to, parts, parts.plan);
      parts.steps = one.steps;
      const Outcome second = run(parts, nodes(ranks, std::min(ranks, 3)));
      ASSERT_TRUE(second.status.ok()) << second.status.message();
      EXPECT_EQ(second.report.restored.step, 6);
      EXPECT_EQ(second.report.restored.state_hash, first.report.snapshots.last_hash);
      EXPECT_LE(distance(losses(parts), expected), limit);
      for (const char* place : {"memory", "disk", "cloud", "out"}) fs::remove_all(directory_ + "/" + place);
    }
  }
}

class SourcesTest : public RecoveryTest {
 protected:
  /// Two nodes, two groups of two stages; steps 6 and 7 (the last) are whole everywhere.
  void SetUp() override {
    RecoveryTest::SetUp();
    job_ = snapshot_job(false);
    job_.data_parallel = 2;
    job_.pipeline_parallel = 2;
    job_.steps = 7;
    const Outcome saved = run(job_, {"a", "a", "b", "b"});
    ASSERT_TRUE(saved.status.ok()) << saved.status.message();
    hash_ = saved.report.snapshots.last_hash;
    total_ = static_cast<std::int64_t>(12) * planner::read_model_spec(config(false)).value().parameters();
    forget_checkpoints(job_);
    job_.steps = 9;
  }
  void lose(const std::string& node) const {
    for (const char* place : {"memory/", "disk/"}) fs::remove_all(directory_ + "/" + place + node);
  }

  planner::TrainSpec job_;
  std::uint64_t hash_ = 0;
  std::int64_t total_ = 0;  // bytes of a snapshot
};

TEST_F(SourcesTest, OwnMemoryFirst) {
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.state_hash, hash_);
  EXPECT_EQ(outcome.report.restored.bytes.own_memory, outcome.report.restored.bytes.total());
}

TEST_F(SourcesTest, OwnDiskWhereTheMemoryIsGone) {
  fs::remove_all(directory_ + "/memory");
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.bytes.own_disk, outcome.report.restored.bytes.total());
}

TEST_F(SourcesTest, PeersForANewNode) {
  lose("b");
  const Outcome outcome = run(job_, {"a", "a", "c", "c"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.state_hash, hash_);
  EXPECT_EQ(outcome.report.restored.bytes.cloud, 0);
  EXPECT_GE(outcome.report.restored.bytes.peer_memory, total_ / 2);
}

TEST_F(SourcesTest, TheCloudWhenEveryNodeIsNew) {
  const Outcome outcome = run(job_, {"x", "x", "y", "y"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.state_hash, hash_);
  EXPECT_EQ(outcome.report.restored.bytes.cloud, total_) << "each atom comes once";
}

TEST_F(SourcesTest, TheCloudAloneIfToldSo) {
  job_.recovery_sources = "cloud";
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.bytes.cloud, outcome.report.restored.bytes.total());
  EXPECT_GE(outcome.report.restored.bytes.cloud, total_);
}

TEST_F(SourcesTest, ADamagedAtomComesFromAPeer) {
  fs::remove_all(directory_ + "/disk");
  for (const fs::path& pack : packs("memory/a")) flip_byte(pack);
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.state_hash, hash_);
  EXPECT_EQ(outcome.report.restored.bytes.cloud, 0);
  EXPECT_GT(outcome.report.restored.bytes.peer_memory, 0);
  EXPECT_GT(outcome.report.restored.rounds, 1);
}

TEST_F(SourcesTest, AnOlderStepWhereTheNewestIsDamagedEverywhere) {
  for (const char* place : {"memory", "disk", "cloud"}) {
    for (const fs::path& pack : packs(place)) {
      if (pack.string().find("step-00000007") != std::string::npos) fs::resize_file(pack, 100);
    }
  }
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.restored.step, 6);
  losses(job_);
}

TEST_F(SourcesTest, NothingWholeStartsAtStepZeroAsIfForTheFirstTime) {
  for (const char* place : {"memory", "disk", "cloud"}) {
    for (const fs::path& pack : packs(place)) fs::resize_file(pack, 100);
  }
  const std::vector<double> before = losses(job_);
  Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_FALSE(outcome.report.restored.restored);
  EXPECT_THAT(outcome.said, HasSubstr("no snapshot could be restored"));
  const std::vector<double> after = losses(job_);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST_F(SourcesTest, LatestAsksForSomethingToGoOnFrom) {
  for (const char* place : {"memory", "disk", "cloud"}) fs::remove_all(directory_ + "/" + place);
  job_.resume = "latest";
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  EXPECT_EQ(outcome.status.code(), Code::kInvalidArgument);
  EXPECT_THAT(outcome.status.message(), HasSubstr("neither a checkpoint nor a whole snapshot"));
}

TEST_F(SourcesTest, ARunFromStepZeroDoesNotMixWithAnEarlierOne) {
  job_.resume = "never";
  job_.out = directory_ + "/another";
  Outcome outcome = run(job_, {"a", "a", "b", "b"});
  EXPECT_EQ(outcome.status.code(), Code::kInvalidArgument);
  EXPECT_THAT(outcome.status.message(), HasSubstr("snapshots of an earlier run"));
  EXPECT_FALSE(packs("cloud").empty());
  job_.overwrite = "on";
  job_.steps = 3;
  outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  for (const char* place : {"memory", "disk", "cloud"}) {
    for (const fs::path& pack : packs(place)) EXPECT_THAT(pack.string(), HasSubstr("step-00000003"));
  }
}

TEST_F(SourcesTest, AnotherRunUnderTheSameNameIsRefused) {
  job_.recovery_job = "mine";
  job_.steps = 3;
  job_.out = directory_ + "/mine";
  ASSERT_TRUE(run(job_, {"a"}).status.code() == Code::kInvalidArgument) << "4 ranks, one started";
  ASSERT_TRUE(run(job_, {"a", "a", "b", "b"}).status.ok());
  job_.seed = 2;
  job_.out = directory_ + "/other";
  const Outcome outcome = run(job_, {"a", "a", "b", "b"});
  EXPECT_EQ(outcome.status.code(), Code::kInvalidArgument);
  EXPECT_THAT(outcome.status.message(), HasSubstr("seed"));
}

TEST_F(SourcesTest, ANewerCheckpointIsTaken) {
  planner::TrainSpec further = job_;
  further.recovery_memory = further.recovery_disk = further.recovery_cloud = "";
  further.resume = "never";
  further.out = directory_ + "/further";
  further.steps = 8;
  ASSERT_TRUE(run(further, {"a", "a", "b", "b"}).status.ok());
  job_.checkpoint_dir = directory_ + "/further/checkpoints";
  Outcome outcome = run(job_, {"a", "a", "b", "b"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_FALSE(outcome.report.restored.restored);
  EXPECT_THAT(outcome.said, HasSubstr("resumed after step 8"));
}

TEST_F(SourcesTest, OlderSnapshotsGo) {
  for (const auto& [place, most] :
       std::vector<std::pair<std::string, std::size_t>>{{"memory/a", 1}, {"disk/a", 2}, {"cloud", 2}}) {
    std::vector<std::string> steps;
    for (const fs::path& pack : packs(place)) steps.push_back(pack.parent_path().filename().string());
    std::ranges::sort(steps);
    steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
    EXPECT_LE(steps.size(), most) << place;
    ASSERT_FALSE(steps.empty()) << place;
    EXPECT_EQ(steps.back(), "step-00000007");
  }
}

TEST_F(RecoveryTest, AFailedSnapshotIsToldAndTriedAgainAndTrainingGoesOn) {
  planner::TrainSpec job = snapshot_job(false);
  job.recovery_disk = job.recovery_cloud = "";
  job.recovery_memory_mb = 1;
  fs::create_directories(directory_ + "/memory/a");
  std::ofstream(directory_ + "/memory/a/filler") << std::string(900000, 'x');  // little of the budget is left
  const Outcome outcome = run(job, {"a"});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
  EXPECT_EQ(outcome.report.last_step, 12);
  EXPECT_EQ(outcome.report.snapshots.last_step, -1);
  EXPECT_GE(outcome.report.snapshots.failed, 3) << "more often than every third step";
  EXPECT_EQ(outcome.report.snapshots.failed, outcome.report.snapshots.taken);
  EXPECT_THAT(outcome.said, HasSubstr("training goes on and tries again"));
}

TEST_F(RecoveryTest, ATierThatFailsLeavesTheOthers) {
  planner::TrainSpec job = snapshot_job(false);
  job.recovery_memory_mb = 1;
  fs::create_directories(directory_ + "/memory/a");
  std::ofstream(directory_ + "/memory/a/filler") << std::string(900000, 'x');
  job.steps = 6;
  const Outcome saved = run(job, {"a"});
  ASSERT_TRUE(saved.status.ok()) << saved.status.message();
  EXPECT_EQ(saved.report.snapshots.failed, 0);
  EXPECT_THAT(saved.said, HasSubstr("is not whole in memory"));
  forget_checkpoints(job);
  job.steps = 8;
  const Outcome outcome = run(job, {"a"});
  EXPECT_EQ(outcome.report.restored.bytes.own_disk, outcome.report.restored.bytes.total());
}

/// Weights of replicas are the same bits; where they are not, no snapshot of them is kept as one.
TEST_F(RecoveryTest, ReplicasThatDifferAreNoticed) {
  planner::TrainSpec job = snapshot_job(false);
  job.data_parallel = 2;
  for (const bool damaged : {false, true}) {
    run_local_ranks(2, [&](Communicator& world) {
      planner::TrainSpec mine = job;
      mine.node_name = world.rank() == Rank(0) ? "a" : "b";
      const SystemClock clock;
      const Result<TrainInputs> inputs = load_train_inputs(mine, 2);
      ASSERT_TRUE(inputs.ok());
      const auto trainer = Trainer::make(world, inputs.value(), clock);
      ASSERT_TRUE(trainer.ok());
      trainer.value()->step();
      Result<RecoveryStores> stores = open_recovery_stores(mine, run_identity(inputs.value()));
      ASSERT_TRUE(stores.ok());
      const Trainer::State state = trainer.value()->state_memory();
      if (damaged && world.rank() == Rank(1)) {
        const ParameterInfo& tensor = trainer.value()->layout().find("model.layers.2.mlp.up_proj.weight");
        state.parameters[tensor.offset + 7] += 0.25F;
      }
      Snapshotter snapshotter(world, inputs.value(), stores.value(), state, {"a", "b"}, clock);
      snapshotter.start(trainer.value()->meta(1));
      EXPECT_FALSE(snapshotter.idle());
      const SnapshotResult result = snapshotter.settle();
      EXPECT_EQ(result.status.code(), damaged ? Code::kDataLoss : Code::kOk);
      EXPECT_THAT(result.status.message(), HasSubstr(damaged ? "layer 3" : ""));
    });
  }
}

TEST_F(RecoveryTest, WrongNamesAreRefusedBeforeAnythingIsWritten) {
  planner::TrainSpec job = snapshot_job(false);
  EXPECT_EQ(run(job, {"a b"}).status.code(), Code::kInvalidArgument);
  job.recovery_job = "../up";
  EXPECT_EQ(run(job, {"a"}).status.code(), Code::kInvalidArgument);
  EXPECT_FALSE(fs::exists(job.recovery_memory));
  EXPECT_FALSE(fs::exists(job.out));
}

}  // namespace
}  // namespace tessera::runtime
