// A generated set of corruptions of a stored job: each is noticed, none gives wrong state, and the job goes
// on from a peer's copy, or from the older step where there is no peer.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "recovery/store/directory_store.h"
#include "tests/recovery/store/example_snapshots.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

namespace fs = std::filesystem;

using File = std::vector<std::byte>;

File read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void write_file(const std::string& path, const File& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

const SnapshotId kOlder{100, 1};
const SnapshotId kNewer{200, 1};

/// A store with the steps 100 and 200 of two writers, and a peer's intact one.
class CorruptionsTest : public ::testing::Test {
 protected:
  CorruptionsTest() {
    fs::create_directories(pristine());
    const auto store = open(pristine());
    EXPECT_OK(write_state(*store, older_));
    EXPECT_OK(write_state(*store, newer_));
    peer_ = open(folder_.path() + "/peer");
    EXPECT_OK(write_state(*peer_, newer_, "node-b"));
  }
  static std::unique_ptr<DirectoryStore> open(const std::string& root) {
    auto store = DirectoryStore::open(root);
    EXPECT_TRUE(store.ok()) << store.status().message();
    return std::move(store).value();
  }
  [[nodiscard]] std::string pristine() const { return folder_.path() + "/pristine"; }
  static std::string file(const SnapshotId& id, const std::string& name) {
    return step_folder(kJob, id.step) + name;
  }

  /// Spoils a copy of the store by `spoil`, which gets its root, and looks at what restoring makes of it.
  void check(const std::string& what, const std::function<void(const std::string& root)>& spoil) {
    ++corruptions_;
    const std::string root = folder_.path() + "/spoilt";
    fs::remove_all(root);
    fs::copy(pristine(), root, fs::copy_options::recursive);
    spoil(root);
    const auto store = open(root);
    const auto alone = restore({store.get()});
    ASSERT_TRUE(alone.has_value()) << what;
    EXPECT_GT(alone->failures, 0) << what << " was not noticed";
    EXPECT_EQ(alone->id, kOlder) << what;
    EXPECT_EQ(alone->hash, older_.hash()) << what;
    const auto helped = restore({store.get(), peer_.get()});
    ASSERT_TRUE(helped.has_value()) << what;
    EXPECT_EQ(helped->id, kNewer) << what;
    EXPECT_EQ(helped->hash, newer_.hash()) << what;
  }
  void change(const std::string& what, const std::string& name, const std::function<void(File&)>& change) {
    check(what + " of " + name, [&](const std::string& root) {
      File bytes = read_file(root + "/" + name);
      const File before = bytes;
      change(bytes);
      ASSERT_NE(bytes, before) << what;
      write_file(root + "/" + name, bytes);
    });
  }
  [[nodiscard]] std::size_t draw(std::size_t below) { return mix64(derive_key(11, ++draws_)) % below; }
  [[nodiscard]] std::size_t size_of(const std::string& name) const {
    return fs::file_size(pristine() + "/" + name);
  }

  TemporaryFolder folder_{"/dev/shm"};
  const ExampleState older_{kOlder};
  const ExampleState newer_{kNewer};
  const std::vector<std::string> packs_ = {file(kNewer, "node-a.rank-0-0.pack"),
                                           file(kNewer, "node-a.rank-1-0.pack")};
  const std::vector<std::string> manifests_ = {file(kNewer, "node-a.rank-0.manifest.json"),
                                               file(kNewer, "node-a.rank-1.manifest.json")};
  std::unique_ptr<DirectoryStore> peer_;
  int corruptions_ = 0;
  std::uint64_t draws_ = 0;
};

TEST_F(CorruptionsTest, TheIntactStoreIsRestoredWithoutAFailure) {
  const auto store = open(pristine());
  const auto restored = restore({store.get()});
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->id, kNewer);
  EXPECT_EQ(restored->hash, newer_.hash());
  EXPECT_EQ(restored->failures, 0);
}

TEST_F(CorruptionsTest, FlippedBits) {
  const auto flip = [&](const std::string& name, std::size_t bit) {
    change("bit " + std::to_string(bit), name,
           [&](File& bytes) { bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8)); });
  };
  for (int i = 0; i < 250; ++i) {
    const std::string& name = packs_[draw(2)];
    flip(name, draw(8 * size_of(name)));
  }
  for (int i = 0; i < 150; ++i) {
    const std::string& name = manifests_[draw(2)];
    flip(name, draw(8 * size_of(name)));
  }
  EXPECT_EQ(corruptions_, 400);
}

TEST_F(CorruptionsTest, CutFiles) {
  for (int i = 0; i < 60; ++i) {
    const std::string& name = (i % 2 == 0 ? packs_ : manifests_)[draw(2)];
    const std::size_t size = i < 4 ? 0 : draw(size_of(name));
    change("cut to " + std::to_string(size), name, [&](File& bytes) { bytes.resize(size); });
  }
  for (const auto* names : {&packs_, &manifests_}) {
    for (const std::string& name : *names) {
      change("the last byte", name, [](File& bytes) { bytes.pop_back(); });
      check("no " + name, [&](const std::string& root) { fs::remove(root + "/" + name); });
    }
  }
  for (const std::string& name : manifests_)
    change("a byte more", name, [](File& bytes) { bytes.push_back({}); });
  EXPECT_EQ(corruptions_, 70);
}

TEST_F(CorruptionsTest, BlocksOfTheDisk) {
  constexpr std::size_t kBlock = 512;
  for (int i = 0; i < 40; ++i) {
    const std::string& name = packs_[draw(2)];
    const std::size_t blocks = size_of(name) / kBlock;
    const std::size_t a = draw(blocks);
    const std::size_t b = (a + 1 + draw(blocks - 1)) % blocks;
    change("block " + std::to_string(a) + (i % 2 == 0 ? " lost" : " swapped"), name, [&](File& bytes) {
      const auto at = [&](std::size_t block) {
        return bytes.begin() + static_cast<std::ptrdiff_t>(block * kBlock);
      };
      if (i % 2 == 0) {
        std::fill(at(a), at(a) + kBlock, std::byte{0});
      } else {
        std::swap_ranges(at(a), at(a) + kBlock, at(b));
      }
    });
  }
  EXPECT_EQ(corruptions_, 40);
}

// Two atoms of one size in each other's place; for the manifest also with a seal that is right again.
TEST_F(CorruptionsTest, SwappedAtoms) {
  for (std::size_t writer = 0; writer < 2; ++writer) {
    const File text = read_file(pristine() + "/" + manifests_[writer]);
    const SnapshotManifest manifest =
        parse_snapshot_manifest({reinterpret_cast<const char*>(text.data()), text.size()}, "").value();
    for (std::size_t i = 0; i < manifest.atoms.size(); ++i) {
      for (std::size_t j = i + 1; j < manifest.atoms.size(); ++j) {
        const StoredAtom& a = manifest.atoms[i];
        const StoredAtom& b = manifest.atoms[j];
        if (a.bytes != b.bytes || a.bytes == 0) continue;
        change(to_string(a.atom) + " and " + to_string(b.atom), packs_[writer], [&](File& bytes) {
          const auto at = [&](std::int64_t offset) { return bytes.begin() + offset; };
          std::swap_ranges(at(a.offset), at(a.offset + a.bytes), at(b.offset));
        });
        change("places of " + to_string(a.atom) + " and " + to_string(b.atom), manifests_[writer],
               [&](File& bytes) {
                 SnapshotManifest swapped = manifest;
                 std::swap(swapped.atoms[i].offset, swapped.atoms[j].offset);
                 const std::string json = to_json(swapped);
                 const auto swapped_bytes = std::as_bytes(std::span(json));
                 bytes.assign(swapped_bytes.begin(), swapped_bytes.end());
               });
      }
    }
  }
  EXPECT_GE(corruptions_, 40);
}

TEST_F(CorruptionsTest, StaleFiles) {
  const ExampleState other_attempt({200, 0});
  const std::string earlier = folder_.path() + "/earlier";
  EXPECT_OK(write_state(*open(earlier), other_attempt));
  for (const auto* names : {&packs_, &manifests_}) {
    for (std::size_t writer = 0; writer < 2; ++writer) {
      const std::string& name = (*names)[writer];
      const std::string of_older = file(kOlder, fs::path(name).filename().string());
      const auto copy = [](const std::string& from, const std::string& to) {
        fs::copy_file(from, to, fs::copy_options::overwrite_existing);
      };
      check(name + " from an older step",
            [&](const std::string& root) { copy(root + "/" + of_older, root + "/" + name); });
      check(name + " from an earlier attempt",
            [&](const std::string& root) { copy(earlier + "/" + name, root + "/" + name); });
      const std::string& of_other = (*names)[1 - writer];
      check(name + " from the other writer",
            [&](const std::string& root) { copy(root + "/" + of_other, root + "/" + name); });
    }
  }
  EXPECT_EQ(corruptions_, 12);
}

// The disk is full somewhere in the middle of the next step's snapshot: the save fails, the last one stays.
TEST_F(CorruptionsTest, FullDisks) {
  const ExampleState next({300, 1});
  const std::size_t largest = std::max(size_of(packs_[0]), size_of(packs_[1]));
  for (int i = 0; i < 40; ++i) {
    ++corruptions_;
    const std::string root = folder_.path() + "/full";
    fs::remove_all(root);
    fs::copy(pristine(), root, fs::copy_options::recursive);
    const auto store = open(root);
    Status status;
    {
      const FileSizeLimit limit(draw(largest));
      status = write_state(*store, next);
    }
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    const auto restored = restore({store.get()});
    ASSERT_TRUE(restored.has_value());
    EXPECT_EQ(restored->id, kNewer);
    EXPECT_EQ(restored->hash, newer_.hash());
    EXPECT_OK(write_state(*store, next));  // tried again when there is room
    const auto after = restore({store.get()});
    ASSERT_TRUE(after.has_value());
    EXPECT_EQ(after->hash, next.hash());
  }
  EXPECT_EQ(corruptions_, 40);
}

}  // namespace
}  // namespace tessera::recovery
