#include "runtime/train/checkpoint.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/local_comm.h"
#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::int64_t kParameters = ParameterLayout(support::small_model()).total();
constexpr std::int64_t kBucket = 250;

/// Shards as ShardedAdamw cuts them, with values that say which element they are.
struct Shard {
  Shard(int rank, int ranks, bool filled) : parameters(static_cast<std::size_t>(kParameters)) {
    for (std::int64_t begin = 0; begin < kParameters; begin += kBucket) {
      const std::int64_t count = std::min(kBucket, kParameters - begin);
      const std::int64_t first = begin + block_begin(count, ranks, rank);
      owned.push_back({first, begin + block_begin(count, ranks, rank + 1) - first});
    }
    for (const FlatRange& range : owned) {
      for (std::int64_t i = range.offset; i < range.offset + range.count; ++i) {
        m.push_back(filled ? static_cast<float>(i) + 0.25F : -1);
        v.push_back(filled ? static_cast<float>(i) + 0.5F : -1);
      }
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] = filled ? static_cast<float>(i) : -1;
  }
  StateView view() {
    StateView state{kParameters, {}};
    StatePiece read{{0, kParameters},
                    parameters.data()};  // every parameter is read, the owned ones are written
    read.saved = false;
    state.pieces.push_back(read);
    std::size_t moment = 0;
    for (const FlatRange& range : owned) {
      state.pieces.push_back({range, parameters.data() + range.offset, m.data() + moment, v.data() + moment});
      moment += static_cast<std::size_t>(range.count);
    }
    return state;
  }
  bool operator==(const Shard&) const = default;

  std::vector<float> parameters;
  std::vector<FlatRange> owned;
  std::vector<float> m;
  std::vector<float> v;
};

const RunIdentity kRun = {{"model.hidden_size", "64"}, {"seed", "3"}};

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "/tessera_" + std::to_string(::getpid()) + "_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  Status save(std::int64_t step, int ranks, std::int64_t keep = 10) {
    Status status;
    run_local_ranks(ranks, [&](Communicator& world) {
      Shard shard(world.rank().value, ranks, true);
      const Status mine = save_checkpoint(world, root_, {step, 0, step * 4, 3, kRun, support::small_model()},
                                          shard.view(), keep);
      if (world.rank() == Rank(ranks - 1)) status = mine;
    });
    return status;
  }
  [[nodiscard]] std::string directory(std::int64_t step) const { return list_at(step).directory; }
  [[nodiscard]] CheckpointEntry list_at(std::int64_t step) const {
    for (const CheckpointEntry& entry : list_checkpoints(root_)) {
      if (entry.step == step) return entry;
    }
    return {};
  }
  Result<CheckpointMeta> load(std::int64_t step, int rank, int ranks) {
    Shard shard(rank, ranks, false);
    Result<CheckpointMeta> meta = load_checkpoint(directory(step), kRun, shard.view());
    if (meta.ok()) {
      EXPECT_EQ(shard, Shard(rank, ranks, true)) << "rank " << rank << " of " << ranks;
    }
    return meta;
  }
  std::string root_;
};

TEST_F(CheckpointTest, LoadsOnAnyNumberOfRanks) {
  for (const int writers : {1, 3, 4}) {
    ASSERT_TRUE(save(writers, writers).ok());
    for (const int readers : {1, 2, 3, 4, 7}) {
      for (int r = 0; r < readers; ++r) {
        const Result<CheckpointMeta> meta = load(writers, r, readers);
        ASSERT_TRUE(meta.ok()) << meta.status().message();
        EXPECT_EQ(meta->step, writers);
        EXPECT_EQ(meta->next_sample, writers * 4);
        EXPECT_EQ(meta->seed, 3U);
      }
    }
  }
}

TEST_F(CheckpointTest, KeepsTheNewestOnes) {
  for (const std::int64_t step : {10, 20, 30, 40}) ASSERT_TRUE(save(step, 2, 2).ok());
  const auto entries = list_checkpoints(root_);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].step, 40);
  EXPECT_EQ(entries[1].step, 30);
}

TEST_F(CheckpointTest, AnUnfinishedOneIsNotListed) {
  ASSERT_TRUE(save(10, 2).ok());
  fs::create_directories(root_ + "/.saving-step-00000020");
  fs::create_directories(root_ + "/step-notanumber");
  ASSERT_EQ(list_checkpoints(root_).size(), 1U);
  ASSERT_TRUE(remove_checkpoints(root_).ok());
  EXPECT_FALSE(fs::exists(root_ + "/.saving-step-00000020"));
  EXPECT_TRUE(list_checkpoints(root_).empty());
}

TEST_F(CheckpointTest, EachKindOfDamageIsRefusedByName) {
  const auto shard_of = [&] { return directory(10) + "/shard-0001-of-0003.bin"; };
  const auto manifest_of = [&] { return directory(10) + "/manifest.json"; };
  struct Damage {
    const char* name;
    std::function<void()> inflict;
    std::string file;
    bool seen_by_list;
  };
  const auto flip = [](const std::string& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char old = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(old ^ 1));
  };
  const std::vector<Damage> damages = {
      {"a flipped bit", [&] { flip(shard_of(), 1000); }, "shard-0001-of-0003.bin", false},
      {"a short file", [&] { fs::resize_file(shard_of(), 100); }, "shard-0001-of-0003.bin", true},
      {"a missing file", [&] { fs::remove(shard_of()); }, "shard-0001-of-0003.bin", true},
      {"no manifest", [&] { fs::remove(manifest_of()); }, "manifest.json", true},
      {"half a manifest", [&] { fs::resize_file(manifest_of(), fs::file_size(manifest_of()) / 2); },
       "manifest.json", true},
      {"another step in the manifest",
       [&] {
         std::string text;
         std::getline(std::ifstream(manifest_of()), text, '\0');
         text.replace(text.find("\"step\": 10"), 10, "\"step\": 11");
         std::ofstream(manifest_of()) << text;
       },
       "manifest.json", true},
      {"an empty manifest", [&] { fs::resize_file(manifest_of(), 0); }, "manifest.json", true},
  };
  for (const Damage& damage : damages) {
    ASSERT_TRUE(save(10, 3).ok());
    ASSERT_TRUE(load(10, 0, 2).ok());
    damage.inflict();
    EXPECT_EQ(list_at(10).complete.ok(), !damage.seen_by_list) << damage.name;
    const Result<CheckpointMeta> meta = load(10, 0, 2);
    ASSERT_FALSE(meta.ok()) << damage.name;
    EXPECT_EQ(meta.status().code(), Code::kDataLoss) << damage.name;
    EXPECT_THAT(meta.status().message(), HasSubstr(damage.file)) << damage.name;
    EXPECT_THAT(meta.status().message(), HasSubstr("--resume-fallback on")) << damage.name;
  }
}

TEST_F(CheckpointTest, AnotherRunsStateIsRefusedNamingTheField) {
  ASSERT_TRUE(save(10, 2).ok());
  Shard shard(0, 1, false);
  const Result<CheckpointMeta> meta =
      load_checkpoint(directory(10), {{"model.hidden_size", "128"}, {"seed", "3"}}, shard.view());
  ASSERT_FALSE(meta.ok());
  EXPECT_EQ(meta.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(meta.status().message(), HasSubstr("model.hidden_size"));
  EXPECT_THAT(meta.status().message(), HasSubstr("64"));
  EXPECT_THAT(meta.status().message(), HasSubstr("128"));
}

TEST_F(CheckpointTest, AFullDiskLeavesTheOlderOneAndNothingElse) {
  ASSERT_TRUE(save(10, 2).ok());
  // A limit on file sizes answers write() as a full disk does, for every user.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{2048, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = save(20, 2);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_THAT(status.message(), HasSubstr("shard-0000-of-0002.bin"));
  const auto entries = list_checkpoints(root_);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].step, 10);
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 1);
  EXPECT_TRUE(load(10, 1, 2).ok());
}

TEST_F(CheckpointTest, ParametersAreReadWithoutARun) {
  ASSERT_TRUE(save(10, 3).ok());
  const Result<CheckpointManifest> manifest = read_checkpoint_manifest(directory(10));
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->meta.identity, kRun);
  std::vector<float> parameters(static_cast<std::size_t>(kParameters), -1);
  const StatePiece all{{0, kParameters}, parameters.data()};
  ASSERT_TRUE(read_checkpoint_state(directory(10), manifest.value(), {kParameters, {all}}).ok());
  EXPECT_EQ(parameters, Shard(0, 1, true).parameters);
}

}  // namespace
}  // namespace tessera::runtime
