// Snapshots of several writers: what makes one, what is refused, what is kept.
#include "recovery/store/snapshot_files.h"

#include <functional>
#include <memory>

#include <gmock/gmock.h>

#include "recovery/store/directory_store.h"
#include "tests/recovery/store/example_snapshots.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SnapshotFilesTest : public ::testing::Test {
 protected:
  SnapshotFilesTest() : store_(DirectoryStore::open(folder_.path()).value().release()) {}
  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] StoreContents contents() {
    auto found = read_contents(store(), kJob);
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? std::move(found).value() : StoreContents();
  }
  /// Objects, not files: what is not there is made, what is there replaced.
  void copy(const std::string& from, const std::string& to) {
    const auto bytes = read_all(store(), from);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    ASSERT_TRUE(put_bytes(store(), to, bytes.value()).ok());
  }
  void expect_refused(const std::string& says) {
    const StoreContents found = contents();
    ASSERT_EQ(found.refused.size(), 1U);
    EXPECT_EQ(found.refused[0].code(), Code::kDataLoss);
    EXPECT_THAT(found.refused[0].message(), HasSubstr(says));
    EXPECT_THAT(found.refused[0].message(), HasSubstr(folder_.path()));
  }
  TemporaryFolder folder_;
  std::unique_ptr<Store> store_;
};

std::string key(std::int64_t step, const std::string& name) { return step_folder(kJob, step) + name; }

TEST_F(SnapshotFilesTest, WritersTogetherMakeASnapshot) {
  const ExampleState state({200, 3});
  ASSERT_TRUE(write_share(store(), state, "node-a", 0, 2).ok());
  StoreContents found = contents();
  ASSERT_EQ(found.snapshots.size(), 1U);
  EXPECT_FALSE(found.snapshots[0].complete());
  EXPECT_EQ(found.snapshots[0].held.count(), 12);
  std::vector<std::byte> into(static_cast<std::size_t>(state.table.bytes(12)));
  EXPECT_EQ(read_atom(store(), kJob, found.snapshots[0], 12, into).code(), Code::kNotFound);
  const auto manifest = write_share(store(), state, "node-b", 1, 2);
  ASSERT_TRUE(manifest.ok());
  EXPECT_EQ(manifest->atoms.size(), 12U);
  found = contents();
  ASSERT_EQ(found.snapshots.size(), 1U);
  EXPECT_TRUE(found.refused.empty());
  EXPECT_TRUE(found.snapshots[0].complete());
  EXPECT_EQ(found.snapshots[0].id(), (SnapshotId{200, 3}));
  EXPECT_EQ(found.snapshots[0].meta.identity, state.meta.identity);
  for (int atom = 0; atom < state.table.count(); ++atom) {
    into.resize(static_cast<std::size_t>(state.table.bytes(atom)));
    ASSERT_TRUE(read_atom(store(), kJob, found.snapshots[0], atom, into).ok()) << atom;
    EXPECT_EQ(into, state.atoms[static_cast<std::size_t>(atom)]) << atom;
  }
  EXPECT_EQ(
      keys_of(store()),
      (std::vector<std::string>{key(200, "node-a.rank-0-0.pack"), key(200, "node-a.rank-0.manifest.json"),
                                key(200, "node-b.rank-1-0.pack"), key(200, "node-b.rank-1.manifest.json")}));
}

TEST_F(SnapshotFilesTest, APackWithoutItsManifestIsInvisible) {
  ASSERT_TRUE(write_state(store(), ExampleState({100, 1})).ok());
  ASSERT_TRUE(write_state(store(), ExampleState({200, 1})).ok());
  ASSERT_TRUE(store().remove(key(200, "node-a.rank-1.manifest.json")).ok());
  const StoreContents found = contents();
  ASSERT_EQ(found.snapshots.size(), 2U);
  EXPECT_FALSE(found.snapshots[0].complete());
  EXPECT_TRUE(found.snapshots[1].complete());
  EXPECT_TRUE(found.refused.empty());
}

TEST_F(SnapshotFilesTest, AnEmptyAtomNeedsNoCopy) {
  const ExampleState state({200, 3});
  ASSERT_TRUE(write_share(store(), state, "node-a", 0, 2).ok());
  SnapshotManifest manifest = write_share(store(), state, "node-a", 1, 2).value();
  manifest.atoms.erase(manifest.atoms.begin() + 9, manifest.atoms.end());  // layer 3, slice 1: nothing
  const std::string text = to_json(manifest);
  const Bytes piece = std::as_bytes(std::span(text));
  ASSERT_TRUE(store().put(key(200, "node-a.rank-1.manifest.json"), {&piece, 1}).ok());
  const StoreContents found = contents();
  ASSERT_EQ(found.snapshots.size(), 1U);
  EXPECT_EQ(found.snapshots[0].held.count(), 21);
  EXPECT_TRUE(found.snapshots[0].complete());
  EXPECT_OK(read_atom(store(), kJob, found.snapshots[0], 23, {}));
}

TEST_F(SnapshotFilesTest, AttemptsDoNotMix) {
  const ExampleState first({200, 1});
  const ExampleState second({200, 2});
  ASSERT_TRUE(write_share(store(), first, "node-a", 0, 2).ok());
  ASSERT_TRUE(write_share(store(), first, "node-b", 1, 2).ok());
  ASSERT_TRUE(write_share(store(), second, "node-a", 0, 2).ok());  // replaces the first one's half
  StoreContents found = contents();
  ASSERT_EQ(found.snapshots.size(), 2U);
  EXPECT_EQ(found.snapshots[0].id(), (SnapshotId{200, 2}));
  EXPECT_EQ(found.snapshots[1].id(), (SnapshotId{200, 1}));
  EXPECT_FALSE(found.snapshots[0].complete());
  EXPECT_FALSE(found.snapshots[1].complete());
  ASSERT_TRUE(write_share(store(), second, "node-c", 1, 2).ok());
  Store* const stores = &store();
  const auto restored = restore({stores});
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->id, (SnapshotId{200, 2}));
  EXPECT_EQ(restored->hash, second.hash());
}

TEST_F(SnapshotFilesTest, AManifestUnderAnotherKeyIsRefused) {
  ASSERT_TRUE(write_state(store(), ExampleState({100, 1})).ok());
  copy(key(100, "node-a.rank-0.manifest.json"), key(200, "node-a.rank-0.manifest.json"));
  expect_refused("the manifest of job-1/step-00000100/node-a.rank-0.manifest.json");
  ASSERT_TRUE(store().remove(key(200, "node-a.rank-0.manifest.json")).ok());
  copy(key(100, "node-a.rank-0.manifest.json"), key(100, "node-b.rank-0.manifest.json"));
  expect_refused("the manifest of job-1/step-00000100/node-a.rank-0.manifest.json");
  ASSERT_TRUE(store().remove(key(100, "node-b.rank-0.manifest.json")).ok());
  copy(key(100, "node-a.rank-0.manifest.json"), "job-2/step-00000100/node-a.rank-0.manifest.json");
  EXPECT_EQ(read_contents(store(), "job-2")->refused.size(), 1U);
  EXPECT_TRUE(contents().refused.empty());
}

TEST_F(SnapshotFilesTest, ManifestsThatDisagreeAreRefused) {
  const ExampleState state({200, 1});
  const std::vector<std::pair<std::string, std::function<void(ExampleState&)>>> rows = {
      {"next_sample", [](auto& other) { other.meta.next_sample = 1; }},
      {"seed", [](auto& other) { other.meta.seed = 1; }},
      {"run", [](auto& other) { other.meta.identity[0].second = "13"; }},
      {"model", [](auto& other) { other.meta.model.hidden_size = 24; }},
      {"the checksum of layer 0, slice 0, weight", [](auto& other) { other.checksums[0] ^= 1; }},
  };
  for (const auto& [what, change] : rows) {
    ASSERT_TRUE(write_share(store(), state, "node-a", 0, 1).ok());
    ExampleState other = state;
    change(other);
    ASSERT_TRUE(write_share(store(), other, "node-b", 0, 1).ok());
    expect_refused("another " + what);
    EXPECT_TRUE(contents().snapshots[0].complete());
  }
}

TEST_F(SnapshotFilesTest, ABadPlaceFallsToTheNext) {
  const ExampleState state({200, 1});
  ASSERT_TRUE(write_share(store(), state, "node-a", 0, 1).ok());
  ASSERT_TRUE(write_share(store(), state, "node-b", 0, 1).ok());
  std::vector<std::byte> pack = read_all(store(), key(200, "node-a.rank-0-0.pack")).value();
  pack[0] ^= std::byte{1};
  ASSERT_TRUE(put_bytes(store(), key(200, "node-a.rank-0-0.pack"), pack).ok());
  const StoreContents found = contents();
  ASSERT_EQ(found.snapshots[0].places[0].size(), 2U);
  std::vector<std::byte> into(static_cast<std::size_t>(state.table.bytes(0)));
  EXPECT_OK(read_atom(store(), kJob, found.snapshots[0], 0, into));
  EXPECT_EQ(into, state.atoms[0]);
  ASSERT_TRUE(store().remove(key(200, "node-b.rank-0-0.pack")).ok());
  const Status gone = read_atom(store(), kJob, found.snapshots[0], 0, into);
  EXPECT_EQ(gone.code(), Code::kDataLoss);  // the manifest says it is there
  ASSERT_TRUE(put_bytes(store(), key(200, "node-b.rank-0-0.pack"), pack).ok());
  const Status wrong = read_atom(store(), kJob, found.snapshots[0], 0, into);
  EXPECT_EQ(wrong.code(), Code::kDataLoss);
  EXPECT_THAT(wrong.message(), HasSubstr("layer 0, slice 0, weight of XXH64"));
}

TEST_F(SnapshotFilesTest, WhatHappensToBytesAfterTheirChecksumIsNoticed) {
  ExampleState state({200, 1});
  state.atoms[5][17] ^= std::byte{4};  // in the buffer, before it is written
  ASSERT_TRUE(write_state(store(), state).ok());
  const StoreContents found = contents();
  std::vector<std::byte> into(state.atoms[5].size());
  EXPECT_EQ(read_atom(store(), kJob, found.snapshots[0], 5, into).code(), Code::kDataLoss);
}

TEST_F(SnapshotFilesTest, OldStepsGo) {
  for (const std::int64_t step : {100, 200, 300})
    ASSERT_TRUE(write_state(store(), ExampleState({step, 1})).ok());
  ASSERT_TRUE(put_bytes(store(), key(150, "node-z.rank-0-0.pack"), {}).ok());  // of a writer that died
  ASSERT_TRUE(put_bytes(store(), "job-2/step-00000001/x", {}).ok());
  ASSERT_TRUE(put_bytes(store(), "job-1/notes", {}).ok());
  EXPECT_OK(remove_before(store(), kJob, 200));
  EXPECT_EQ(contents().snapshots.size(), 2U);
  EXPECT_EQ(keys_of(store(), "job-1/").size(), 9U);
  EXPECT_EQ(keys_of(store(), "job-2/").size(), 1U);
}

TEST_F(SnapshotFilesTest, KeepsTheNewestCompleteOnes) {
  const auto steps = [&] {
    std::vector<std::int64_t> found;
    for (const StoredSnapshot& snapshot : contents().snapshots) found.push_back(snapshot.meta.step);
    return found;
  };
  for (const std::int64_t step : {100, 200, 300, 400}) {
    ASSERT_TRUE(write_state(store(), ExampleState({step, 1})).ok());
  }
  ASSERT_TRUE(store().remove(key(300, "node-a.rank-0.manifest.json")).ok());
  ASSERT_TRUE(write_share(store(), ExampleState({500, 1}), "node-a", 0, 2).ok());  // not whole yet
  EXPECT_OK(keep_newest(store(), kJob, 4));
  EXPECT_THAT(steps(), ElementsAre(500, 400, 300, 200, 100));
  EXPECT_OK(keep_newest(store(), kJob, 2));
  EXPECT_THAT(steps(), ElementsAre(500, 400, 300, 200));
  EXPECT_OK(keep_newest(store(), kJob, 1));
  EXPECT_THAT(steps(), ElementsAre(500, 400));
}

}  // namespace
}  // namespace tessera::recovery
