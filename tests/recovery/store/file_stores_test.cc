// Directory and node memory: the conformance suite, and what only stores of files can get wrong.
#include <filesystem>
#include <fstream>
#include <sys/mount.h>
#include <sys/stat.h>

#include <gmock/gmock.h>

#include "recovery/store/directory_store.h"
#include "recovery/store/memory_store.h"
#include "tests/recovery/store/conformance.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

std::unique_ptr<DirectoryStore> open_directory(const std::string& root) {
  auto store = DirectoryStore::open(root);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return std::move(store).value();
}

std::unique_ptr<MemoryStore> open_memory(const std::string& root, std::int64_t budget_bytes) {
  auto store = MemoryStore::open(root, budget_bytes);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return std::move(store).value();
}

class DirectoryPlace final : public StorePlace {
 public:
  std::unique_ptr<Store> open() override { return open_directory(folder_.path() + "/made/on/opening"); }

 private:
  TemporaryFolder folder_;
};

class MemoryPlace final : public StorePlace {
 public:
  std::unique_ptr<Store> open() override { return open_memory(folder_.path() + "/node-a", 64 * kMiB); }

 private:
  TemporaryFolder folder_{"/dev/shm"};
};

const std::vector<StoreKind> kKinds = {
    {"directory", [] { return std::make_unique<DirectoryPlace>(); }},
    {"memory", [] { return std::make_unique<MemoryPlace>(); }},
};
INSTANTIATE_TEST_SUITE_P(FileStores, StoreConformance, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

int files_below(const std::string& path) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) files += entry.is_regular_file() ? 1 : 0;
  return files;
}

/// A part file whose writer has died, and what is free to be mistaken for one.
std::string abandoned_part(const std::string& root) {
  std::string name = root + "/~parts/0123456789abcdef";
  std::ofstream(name) << "half of";
  return name;
}

TEST(DirectoryStore, DoesNotShowPartsAndRemovesDeadOnes) {
  const TemporaryFolder folder;
  const auto store = open_directory(folder.path());
  const std::string dead = abandoned_part(folder.path());
  auto live = PartFile::create(folder.path() + "/~parts", "live", false);
  ASSERT_TRUE(live.ok());
  EXPECT_EQ(keys_of(*store), std::vector<std::string>{});
  const auto again = open_directory(folder.path());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_EQ(files_below(folder.path()), 1);  // the live one
  EXPECT_OK(live->publish(folder.path() + "/object"));
  EXPECT_EQ(keys_of(*again), std::vector<std::string>{"object"});
}

TEST(DirectoryStore, LeavesNoPartOfAFailedPut) {
  const TemporaryFolder folder;
  const auto store = open_directory(folder.path());
  ASSERT_TRUE(put_bytes(*store, "job/a", random_bytes(1, 100)).ok());
  EXPECT_EQ(put_bytes(*store, "job", random_bytes(2, 100)).code(), Code::kInvalidArgument);  // a folder
  EXPECT_FALSE(put_bytes(*store, "job/a/b", random_bytes(3, 100)).ok());  // below an object
  EXPECT_EQ(files_below(folder.path()), 1);
  EXPECT_EQ(keys_of(*store), std::vector<std::string>{"job/a"});
}

TEST(DirectoryStore, EmptyFoldersGo) {
  const TemporaryFolder folder;
  const auto store = open_directory(folder.path());
  ASSERT_TRUE(put_bytes(*store, "job/step-1/a", random_bytes(1, 100)).ok());
  ASSERT_TRUE(put_bytes(*store, "job/step-2/a", random_bytes(1, 100)).ok());
  EXPECT_OK(store->remove("job/step-1/a"));
  EXPECT_FALSE(fs::exists(folder.path() + "/job/step-1"));
  EXPECT_TRUE(fs::exists(folder.path() + "/job/step-2"));
  EXPECT_OK(store->remove("job/step-2/a"));
  EXPECT_FALSE(fs::exists(folder.path() + "/job"));
  EXPECT_TRUE(fs::exists(folder.path()));
}

TEST(DirectoryStore, ForeignFilesAreNoObjects) {
  const TemporaryFolder folder;
  const auto store = open_directory(folder.path());
  std::ofstream(folder.path() + "/with space") << "x";
  std::ofstream(folder.path() + "/backup~") << "x";
  fs::create_symlink("/etc/hostname", folder.path() + "/link");
  fs::create_directory(folder.path() + "/empty");
  EXPECT_EQ(keys_of(*store), std::vector<std::string>{});
}

TEST(DirectoryStore, AFolderThatCannotBeMadeIsTheUsersMistake) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  const auto store = DirectoryStore::open(folder.path() + "/file/below");
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(store.status().message(), HasSubstr(folder.path() + "/file"));
}

TEST(DirectoryStore, GoesOnAfterItsFolderWasEmptied) {
  const TemporaryFolder folder;
  const auto store = open_directory(folder.path() + "/store");
  fs::remove_all(folder.path() + "/store");
  EXPECT_OK(put_bytes(*store, "job/a", random_bytes(1, 10)));
  EXPECT_EQ(keys_of(*store), std::vector<std::string>{"job/a"});
}

void expect_that_a_failed_put_changes_nothing(Store& store, const std::string& root) {
  const std::vector<std::byte> former = random_bytes(1, 1000);
  ASSERT_TRUE(put_bytes(store, "job/a", former).ok());
  const int files = files_below(root);
  Status status;
  {
    const FileSizeLimit limit(50'000);
    status = put_bytes(store, "job/a", random_bytes(2, 100'000));
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_THAT(status.message(), HasSubstr("job/a"));
  const auto read = read_all(store, "job/a");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value(), former);
  EXPECT_EQ(files_below(root), files);
}

TEST(DirectoryStore, ASizeLimitIsSurvived) {
  const TemporaryFolder folder;
  expect_that_a_failed_put_changes_nothing(*open_directory(folder.path()), folder.path());
}

TEST(MemoryStore, ASizeLimitIsSurvived) {
  const TemporaryFolder folder("/dev/shm");
  expect_that_a_failed_put_changes_nothing(*open_memory(folder.path(), 64 * kMiB), folder.path());
}

/// A file system of its own and of this size; mounted() is false where the test may not mount.
class SmallDisk {
 public:
  explicit SmallDisk(const char* size) {
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  bool mounted_ = false;
};

void expect_that_a_full_disk_is_survived(Store& store, const std::string& root) {
  const std::vector<std::byte> bytes = random_bytes(1, 300'000);
  int stored = 0;
  Status status;
  while (stored < 10) {
    status = put_bytes(store, "job/" + std::to_string(stored), bytes);
    if (!status.ok()) break;
    ++stored;
  }
  EXPECT_EQ(stored, 3);  // of 1 MiB
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_EQ(fs::is_empty(root + "/~parts"), true);
  for (int i = 0; i < stored; ++i) {
    const auto read = read_all(store, "job/" + std::to_string(i));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read.value(), bytes);
  }
  EXPECT_OK(store.remove("job/0"));
  EXPECT_OK(put_bytes(store, "job/3", bytes));
}

TEST(DirectoryStore, AFullDiskIsSurvived) {
  const SmallDisk disk("size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a small file system here; ASizeLimitIsSurvived ran";
  expect_that_a_full_disk_is_survived(*open_directory(disk.path()), disk.path());
}

TEST(MemoryStore, AFullMemoryFileSystemIsSurvived) {
  const SmallDisk disk("size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a small file system here; ASizeLimitIsSurvived ran";
  expect_that_a_full_disk_is_survived(*open_memory(disk.path(), 64 * kMiB), disk.path());
}

TEST(MemoryStore, KeepsItsBudget) {
  const TemporaryFolder folder("/dev/shm");
  const auto store = open_memory(folder.path(), 1000);
  EXPECT_OK(put_bytes(*store, "a", random_bytes(1, 600)));
  const Status status = put_bytes(*store, "b", random_bytes(2, 401));
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("401 bytes"));
  EXPECT_THAT(status.message(), HasSubstr("600 of a budget of 1000"));
  EXPECT_OK(put_bytes(*store, "b", random_bytes(2, 400)));
  EXPECT_EQ(store->used_bytes().value(), 1000);
  // The one that is replaced counts until the new one is whole.
  EXPECT_EQ(put_bytes(*store, "a", random_bytes(3, 1)).code(), Code::kResourceExhausted);
  EXPECT_OK(store->remove("a"));
  EXPECT_OK(put_bytes(*store, "b", random_bytes(3, 500)));
  EXPECT_EQ(store->used_bytes().value(), 500);
  EXPECT_EQ(keys_of(*store), std::vector<std::string>{"b"});
}

TEST(MemoryStore, TheBudgetIsTheNodes) {
  const TemporaryFolder folder("/dev/shm");
  std::atomic<int> stored{0};
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 8; ++rank) {
    ranks.emplace_back([&, rank] {
      const auto store = open_memory(folder.path(), 4 * kMiB + kMiB / 2);
      for (int i = 0; i < 3; ++i) {
        const std::string key = "job/" + std::to_string(rank) + "-" + std::to_string(i);
        const Status status = put_bytes(*store, key, random_bytes(1, static_cast<std::size_t>(kMiB)));
        stored += status.ok() ? 1 : 0;
        EXPECT_TRUE(status.ok() || status.code() == Code::kResourceExhausted) << status.message();
        EXPECT_LE(store->used_bytes().value(), store->budget_bytes());
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  // Never more; and nobody was refused while there was room, for each tried after others had given up.
  EXPECT_EQ(stored, 4);
}

TEST(MemoryStore, ADeadWritersPartGivesItsRoomBack) {
  const TemporaryFolder folder("/dev/shm");
  const auto store = open_memory(folder.path(), 10);
  abandoned_part(folder.path());
  EXPECT_EQ(store->used_bytes().value(), 7);
  EXPECT_OK(put_bytes(*store, "a", random_bytes(1, 10)));
  EXPECT_EQ(store->used_bytes().value(), 10);
}

TEST(MemoryStore, OnlyTheOwnerMayRead) {
  const TemporaryFolder folder("/dev/shm");
  const auto store = open_memory(folder.path() + "/node-a", kMiB);
  ASSERT_TRUE(put_bytes(*store, "job/a", random_bytes(1, 10)).ok());
  for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
    const auto others = entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all);
    EXPECT_EQ(others, fs::perms::none) << entry.path();
  }
}

TEST(MemoryStore, DescribesItself) {
  const TemporaryFolder folder("/dev/shm");
  EXPECT_EQ(open_memory(folder.path(), 512 * kMiB)->describe(),
            "node memory " + folder.path() + " (512 MiB)");
}

}  // namespace
}  // namespace tessera::recovery
