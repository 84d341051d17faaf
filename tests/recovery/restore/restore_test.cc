#include "recovery/restore/restore.h"

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recovery/state/store_key.h"
#include "tests/recovery/restore/restore_job.h"

namespace tessera::recovery {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr SnapshotId kOld{100, 1};
constexpr SnapshotId kNew{200, 1};

std::string pack_key(const SnapshotId& id, const std::string& writer) {
  return step_folder(kJob, id.step) + writer + "-0.pack";
}

/// Flips one bit of atom `atom` in a pack that begins with atom 0.
void damage(RestoreJob& job, RamStore& store, const SnapshotId& id, const std::string& writer, int atom) {
  std::int64_t offset = 0;
  for (int i = 0; i < atom; ++i) offset += job.table.bytes(i);
  std::vector<std::byte>& pack = store.objects().at(pack_key(id, writer));
  pack[static_cast<std::size_t>(offset + 5)] ^= std::byte{16};
}

/// Every rank got what it needs of this snapshot.
void expect_restored(const RestoreJob::Outcome& outcome, const SnapshotId& id) {
  EXPECT_THAT(outcome.faults, IsEmpty());
  EXPECT_TRUE(outcome.of_rank_0.status.ok()) << outcome.of_rank_0.status.message();
  EXPECT_EQ(to_string(outcome.of_rank_0.report.meta.id()), to_string(id));
}

TEST(Restore, NothingAnywhereIsAFreshStart) {
  RestoreJob job(2);
  const auto outcome = job.restore_all();
  EXPECT_THAT(outcome.faults, IsEmpty());
  EXPECT_EQ(outcome.of_rank_0.status.code(), Code::kNotFound);
}

TEST(Restore, OwnMemoryFirst) {
  RestoreJob job(2);
  for (auto& node : job.nodes) {
    node->ranks = 2;
    job.save(node->memory, "w", kNew, job.all());
    job.save(node->disk, "w", kNew, job.all());
  }
  job.save(job.cloud, "w", kNew, job.all());
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes, (SourceBytes{2 * job.table.total_bytes(), 0, 0, 0, 0}));
  EXPECT_EQ(outcome.of_rank_0.report.rounds, 1);
}

TEST(Restore, ANewNodeIsServedByItsPeersAndHoldsACopyAfterwards) {
  RestoreJob job(2);
  job.nodes[0]->ranks = job.nodes[1]->ranks = 2;
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  const std::int64_t total = job.table.total_bytes();
  const auto first = job.restore_all();
  expect_restored(first, kNew);
  EXPECT_EQ(first.of_rank_0.report.bytes, (SourceBytes{total, 0, total, 0, 0}));
  // Node a is lost: node b has all of it now.
  job.nodes.erase(job.nodes.begin());
  const auto second = job.restore_all();
  expect_restored(second, kNew);
  EXPECT_EQ(second.of_rank_0.report.bytes, (SourceBytes{total, 0, 0, 0, 0}));
}

TEST(Restore, PiecesOfEveryoneMakeOneState) {
  RestoreJob job(3);
  for (int n = 0; n < 3; ++n) {
    auto& node = *job.nodes[static_cast<std::size_t>(n)];
    node.ranks = n + 1;
    job.save(n == 1 ? node.disk : node.memory, "w", kNew, job.atoms(n * 6, (n + 1) * 6));
  }
  job.save(job.cloud, "w", kNew, job.atoms(18, job.table.count()));
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_GT(outcome.of_rank_0.report.bytes.peer_disk, 0);
  std::int64_t alone = 0;  // only in the cloud
  for (int atom = 18; atom < job.table.count(); ++atom) alone += job.table.bytes(atom);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.cloud, alone);  // once, then from node to node
}

TEST(Restore, RanksOfANodeThatNeedDifferentAtoms) {
  RestoreJob job(2);
  job.nodes[1]->ranks = 3;
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  for (int rank = 1; rank < 4; ++rank) job.rank_needs[rank] = job.atoms(4 * rank, 4 * rank + 8);
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  std::int64_t moved = 0;  // atoms 4 to 19, each once for the node
  for (int atom = 4; atom < 20; ++atom) moved += job.table.bytes(atom);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.peer_memory, moved);
}

TEST(Restore, ADamagedLocalCopyHealsThroughAPeer) {
  RestoreJob job(2);
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  damage(job, job.nodes[1]->memory, kNew, "w", 4);
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_THAT(outcome.of_rank_0.report.lines,
              Contains(AllOf(HasSubstr("layer 0, slice 1, first_moment: memory of node node-b failed"),
                             HasSubstr("node node-b takes memory of node node-a"))));
  EXPECT_EQ(outcome.of_rank_0.report.bytes.peer_memory, job.table.bytes(4));
}

TEST(Restore, ADamagedMemoryHealsThroughTheOwnDisk) {
  RestoreJob job(1);
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  job.save(job.nodes[0]->disk, "w", kNew, job.all());
  damage(job, job.nodes[0]->memory, kNew, "w", 2);
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains(HasSubstr("node node-a takes its disk")));
}

TEST(Restore, ADamagedPeerHealsThroughTheCloud) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  job.save(job.cloud, "w", kNew, job.all());
  job.nodes[0]->needed = AtomSet(job.table.count());
  damage(job, job.nodes[0]->memory, kNew, "w", 7);
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.cloud, job.table.bytes(7));
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains(AllOf(HasSubstr("memory of node node-a failed"),
                                                             HasSubstr("node node-b takes the cloud"))));
}

TEST(Restore, AnAtomLostEverywhereHealsThroughAnOlderStep) {
  RestoreJob job(2);
  for (auto& node : job.nodes) {
    job.save(node->memory, "w", kOld, job.all());
    job.save(node->memory, "w2", kNew, job.all());
    damage(job, node->memory, kNew, "w2", 11);
  }
  const auto outcome = job.restore_all();
  expect_restored(outcome, kOld);
  EXPECT_THAT(
      outcome.of_rank_0.report.lines,
      Contains(HasSubstr("step 200 of attempt 1 is given up: no right copy is left of 1 atoms, the first "
                         "of them layer 1, slice 1, second_moment")));
}

TEST(Restore, ALossThatNothingHealsIsSaidByAllRanks) {
  RestoreJob job(2);
  for (auto& node : job.nodes) {
    node->ranks = 2;
    job.save(node->memory, "w", kNew, job.all());
    damage(job, node->memory, kNew, "w", 11);
  }
  const auto outcome = job.restore_all();
  EXPECT_THAT(outcome.faults, IsEmpty());
  EXPECT_EQ(outcome.of_rank_0.status.code(), Code::kDataLoss);
  EXPECT_THAT(outcome.of_rank_0.status.message(), HasSubstr("no right copy is left of 1 atoms"));
}

TEST(Restore, AStepThatIsNotWholeIsPassedOver) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[0]->memory, "w2", kNew, job.atoms(0, 10));
  job.save(job.nodes[1]->memory, "w2", kNew, job.atoms(11, job.table.count()));
  const auto outcome = job.restore_all();
  expect_restored(outcome, kOld);
  EXPECT_THAT(outcome.of_rank_0.report.lines,
              Contains("step 200 of attempt 1 is not whole: 1 atoms are nowhere"));
}

TEST(Restore, AMissingManifestHidesItsPack) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[1]->memory, "w", kNew, job.all());
  job.nodes[1]->memory.objects().erase(manifest_key(kJob, kNew.step, "w"));
  expect_restored(job.restore_all(), kOld);
}

TEST(Restore, AStaleManifestIsNotBelieved) {
  RestoreJob job(1);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  auto& objects = job.nodes[0]->memory.objects();
  objects[manifest_key(kJob, kNew.step, "w")] = objects.at(manifest_key(kJob, kOld.step, "w"));
  const auto outcome = job.restore_all();
  expect_restored(outcome, kOld);
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains(HasSubstr("a manifest is left out")));
}

/// The pack of another step under the right name: every checksum is wrong.
TEST(Restore, AStalePackIsNoticed) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  auto& objects = job.nodes[0]->memory.objects();
  objects[pack_key(kNew, "w")] = objects.at(pack_key(kOld, "w"));
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.peer_memory, job.table.total_bytes());
}

/// Two atoms of one size in each other's place.
TEST(Restore, SwappedAtomsAreNoticed) {
  RestoreJob job(2);
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  std::vector<std::byte>& pack = job.nodes[0]->memory.objects().at(pack_key(kNew, "w"));
  const auto size = static_cast<std::ptrdiff_t>(job.table.bytes(0));
  std::swap_ranges(pack.begin(), pack.begin() + size, pack.begin() + size);  // weight and first moment
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.peer_memory, 2 * size);
}

TEST(Restore, ATruncatedPackIsNoticed) {
  RestoreJob job(2);
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  std::vector<std::byte>& pack = job.nodes[0]->memory.objects().at(pack_key(kNew, "w"));
  pack.resize(pack.size() - 7);
  expect_restored(job.restore_all(), kNew);
}

/// The job came to step 200 twice, by two ways: what one node kept of the first must not complete the second.
TEST(Restore, AttemptsAreNotMixed) {
  RestoreJob job(2);
  const SnapshotId earlier{200, 1};
  const SnapshotId later{200, 2};
  job.save(job.cloud, "w0", kOld, job.all());
  job.save(job.nodes[0]->memory, "w1", earlier, job.atoms(0, 12));
  job.save(job.nodes[1]->memory, "w2", later, job.atoms(12, job.table.count()));
  expect_restored(job.restore_all(), kOld);
  job.save(job.nodes[1]->disk, "w3", earlier, job.atoms(12, job.table.count()));
  expect_restored(job.restore_all(), earlier);
  job.save(job.nodes[0]->disk, "w4", later, job.atoms(0, 12));
  expect_restored(job.restore_all(), later);
}

/// A snapshot that says it is the same and has another atom: the majority is right.
TEST(Restore, ACopyWithAnotherChecksumIsOutvoted) {
  RestoreJob job(3);
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  std::vector<std::byte> other = job.bytes_of(kOld, 3);
  const AtomBytes atom{job.table.at(3), other, checksum(other)};
  ASSERT_TRUE(
      write_snapshot(job.nodes[2]->disk, {kJob, "v", "n", job.meta(kNew), job.table, {}}, {&atom, 1}).ok());
  ASSERT_TRUE(job.nodes[2]->memory.remove(manifest_key(kJob, kNew.step, "w")).ok());
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_THAT(outcome.of_rank_0.report.lines,
              Contains(HasSubstr("disk of node node-c names another checksum")));
}

TEST(Restore, AnotherRunsSnapshotIsRefused) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  const auto outcome = job.restore_all([](RestoreRequest& request, int) {
    request.accept = [](const StateMeta& meta) {
      return meta.step == 200 ? Status(Code::kFailedPrecondition, "of another run") : Status();
    };
  });
  expect_restored(outcome, kOld);
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains("step 200 of attempt 1 is left out: of another run"));
}

TEST(Restore, TheBaselineTakesEverythingFromTheCloud) {
  RestoreJob job(3);
  for (auto& node : job.nodes) {
    node->ranks = 2;
    job.save(node->memory, "w", kNew, job.all());
  }
  job.save(job.cloud, "w", kNew, job.all());
  const auto outcome = job.restore_all([](RestoreRequest& request, int) { request.cloud_only = true; });
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes, (SourceBytes{0, 0, 0, 0, 3 * job.table.total_bytes()}));
}

/// The window holds one atom, or not even one.
TEST(Restore, SmallWindows) {
  RestoreJob job(3);
  for (auto& node : job.nodes) node->ranks = 2;
  job.save(job.nodes[0]->memory, "w", kNew, job.atoms(0, 12));
  job.save(job.cloud, "w", kNew, job.all());
  for (const std::int64_t window : {1, 300, 1000}) {
    for (std::size_t n = 1; n < 3; ++n) job.nodes[n]->memory.objects().clear();
    expect_restored(job.restore_all([&](RestoreRequest& request, int) { request.window_bytes = window; }),
                    kNew);
  }
}

/// One node after the other loses everything: what a node received serves the others at the next loss.
TEST(Restore, NodesComeAndGoWithoutTheCloud) {
  RestoreJob job(4);
  for (std::size_t n = 0; n < 4; ++n) job.nodes[n]->ranks = 1 + static_cast<int>(n) % 2;
  job.save(job.nodes[0]->memory, "w", kNew, job.atoms(0, 12));
  job.save(job.nodes[1]->memory, "w", kNew, job.atoms(12, job.table.count()));
  expect_restored(job.restore_all(), kNew);
  for (int loss = 0; loss < 12; ++loss) {
    TestNode& node = *job.nodes[static_cast<std::size_t>(loss % 4)];
    node.memory.objects().clear();
    const auto outcome = job.restore_all();
    expect_restored(outcome, kNew);
    const std::int64_t total = job.table.total_bytes();
    EXPECT_EQ(outcome.of_rank_0.report.bytes, (SourceBytes{3 * total, 0, total, 0, 0}));
  }
}

// ---- stores that fail

TEST(Restore, AListingThatFailsLeavesTheStoreOut) {
  RestoreJob job(2);
  for (auto& node : job.nodes) job.save(node->memory, "w", kNew, job.all());
  FaultyStore faulty(job.nodes[0]->memory, {.scope = Faults::kList});
  job.nodes[0]->memory_used = &faulty;
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains(HasSubstr("memory of node node-a cannot be listed")));
}

TEST(Restore, TheCloudIsListedByTheNextRankIfTheFirstCannot) {
  RestoreJob job(2);
  job.save(job.cloud, "w", kNew, job.all());
  FaultyStore no_list(job.cloud, {.scope = Faults::kList});
  expect_restored(job.restore_all([&](RestoreRequest& request, int rank) {
    if (rank == 0) request.cloud = &no_list;
  }),
                  kNew);
}

TEST(Restore, ADiskThatRecoversIsAskedAgain) {
  RestoreJob job(1);
  job.save(job.nodes[0]->disk, "w", kNew, job.all());
  FaultyStore faulty(job.nodes[0]->disk,
                     {.scope = Faults::kRead, .count = 2, .after = 2});  // 1 manifest, 1 atom
  job.nodes[0]->disk_used = &faulty;
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.rounds, 2);
}

TEST(Restore, ASourceThatDiesOnTheWayIsReplaced) {
  RestoreJob job(3);
  for (std::size_t n = 0; n < 2; ++n) {
    job.save(job.nodes[n]->memory, "w", kNew, job.all());
    job.nodes[n]->needed = AtomSet(job.table.count());
  }
  FaultyStore dies(job.nodes[0]->memory, {.scope = Faults::kRead, .after = 4, .code = Code::kIoError});
  job.nodes[0]->memory_used = &dies;
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.peer_memory, job.table.total_bytes());
  EXPECT_GT(outcome.of_rank_0.report.rounds, 1);
}

/// A cloud that is down costs a few tries, not one for each atom and rank.
TEST(Restore, ACloudThatIsDownIsLeftAlone) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[0]->memory, "w", kNew, job.atoms(0, 2));
  job.save(job.cloud, "w", kNew, job.all());
  class Counting final : public Store {
   public:
    explicit Counting(RamStore& inner) : inner_(inner) {}
    [[nodiscard]] std::string describe() const override { return "counting"; }
    [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override {
      return inner_.put(key, pieces);
    }
    [[nodiscard]] Result<std::int64_t> size(const std::string& key) override { return inner_.size(key); }
    [[nodiscard]] Status read(const std::string& key, std::int64_t offset,
                              std::span<std::byte> into) override {
      if (!key.ends_with(".pack")) return inner_.read(key, offset, into);
      ++reads;
      return {Code::kUnavailable, "503"};
    }
    [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override {
      return inner_.list(prefix);
    }
    [[nodiscard]] Status remove(const std::string& key) override { return inner_.remove(key); }
    std::atomic<int> reads = 0;

   private:
    RamStore& inner_;
  } counting(job.cloud);
  job.cloud_used = &counting;
  const auto outcome = job.restore_all();
  expect_restored(outcome, kOld);
  // 2 ranks, 2 rounds, 3 failures in a row and the 3 that other connections had begun.
  EXPECT_LE(counting.reads, 2 * 2 * (3 + 3));
}

/// Neither memory nor disk takes anything: ranks of the node cannot share, so each gets its own copy.
TEST(Restore, ANodeWithoutRoomIsServedRankByRank) {
  RestoreJob job(3);
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  job.nodes[1]->ranks = 3;
  FaultyStore full_memory(job.nodes[1]->memory, {.scope = Faults::kPut, .code = Code::kResourceExhausted});
  FaultyStore full_disk(job.nodes[1]->disk, {.scope = Faults::kPut, .code = Code::kResourceExhausted});
  job.nodes[1]->memory_used = &full_memory;
  job.nodes[1]->disk_used = &full_disk;
  const auto outcome = job.restore_all();
  expect_restored(outcome, kNew);
  EXPECT_THAT(outcome.of_rank_0.report.lines, Contains(HasSubstr("node node-b does not keep layer")));
  EXPECT_LE(outcome.of_rank_0.report.rounds, 4);
}

TEST(Restore, AFullMemoryPutsWhatCameOnTheDisk) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  job.nodes[1]->ranks = 2;
  FaultyStore full(job.nodes[1]->memory, {.scope = Faults::kPut, .code = Code::kResourceExhausted});
  job.nodes[1]->memory_used = &full;
  expect_restored(job.restore_all(), kNew);
  const Result<StoreContents> kept = read_contents(job.nodes[1]->disk, kJob);
  ASSERT_TRUE(kept.ok());
  ASSERT_EQ(kept->snapshots.size(), 1U);
  EXPECT_TRUE(kept->snapshots.front().complete());
}

/// Nodes without any store of their own: everything from the cloud, and from rank to rank.
TEST(Restore, NodesWithoutStores) {
  RestoreJob job(2);
  job.nodes[0]->ranks = 2;
  job.save(job.cloud, "w", kNew, job.all());
  expect_restored(
      job.restore_all([](RestoreRequest& request, int) { request.memory = request.disk = nullptr; }), kNew);
}

/// What an attempt that was given up had brought is removed again.
TEST(Restore, AGivenUpStepLeavesNothingBehind) {
  RestoreJob job(2);
  job.save(job.nodes[0]->memory, "w", kOld, job.all());
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  damage(job, job.nodes[0]->memory, kNew, "w", 11);
  expect_restored(job.restore_all(), kOld);
  const auto keys = job.nodes[1]->memory.list(step_folder(kJob, kNew.step));
  ASSERT_TRUE(keys.ok());
  EXPECT_THAT(keys.value(), IsEmpty());
}

// ---- ranks that fail

TEST(Restore, ADeadRankEndsAllOthersInBoundedTime) {
  RestoreJob job(3);
  for (auto& node : job.nodes) node->ranks = 2;
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(job.restore_all(
                   [](RestoreRequest& request, int rank) {
                     if (rank == 3) request.deliver = [](int, Bytes) { throw std::runtime_error("killed"); };
                   },
                   std::chrono::seconds(5)),
               std::runtime_error);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

/// A rank that hangs in the middle: the others end at the deadline, which names it.
TEST(Restore, AHungRankEndsAllOthersAtTheDeadline) {
  RestoreJob job(3);
  job.save(job.nodes[0]->memory, "w", kNew, job.all());
  const auto begin = std::chrono::steady_clock::now();
  try {
    job.restore_all(
        [](RestoreRequest& request, int rank) {
          if (rank == 1)
            request.accept = [](const StateMeta&) {
              std::this_thread::sleep_for(std::chrono::seconds(2));
              return Status();
            };
        },
        std::chrono::milliseconds(300));
    FAIL() << "nobody noticed";
  } catch (const runtime::CommError& e) {
    EXPECT_THAT(e.what(), HasSubstr("Rank 1"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace tessera::recovery
