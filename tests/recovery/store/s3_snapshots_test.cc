// Snapshots in S3 while its answers are wrong: a save fails and says so or is whole, and what is restored is
// right, from S3 on a second try, from a peer's memory, or from the older step.
#include <filesystem>

#include <gmock/gmock.h>

#include "recovery/store/memory_store.h"
#include "tests/recovery/store/example_snapshots.h"
#include "tests/recovery/store/s3_server.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

using ::testing::HasSubstr;

class S3SnapshotsTest : public ::testing::Test {
 protected:
  S3SnapshotsTest() {
    ObjectStoreOptions options = s3_server().options();
    options.part_bytes = 4000;  // so that a pack, of 13 kB, goes up in parts and an atom comes in one range
    options.retry.tries = 2;
    static int number = 0;
    cloud_ = open_s3(std::string("s3://") + kBucket + "/snapshots/" + std::to_string(++number), options);
    auto memory = MemoryStore::open(folder_.path(), std::int64_t{1} << 24);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    peer_ = std::move(memory).value();
    EXPECT_OK(write_state(*peer_, newer_, "node-b"));
  }
  ~S3SnapshotsTest() override { s3_server().tell("clear"); }
  static S3Server& server() { return s3_server(); }
  [[nodiscard]] Store& cloud() { return *cloud_; }

  void expect_restored(const std::vector<Store*>& stores, const ExampleState& state,
                       const std::string& what) {
    const auto restored = restore(stores);
    ASSERT_TRUE(restored.has_value()) << what;
    EXPECT_EQ(restored->id, state.meta.id()) << what;
    EXPECT_EQ(restored->hash, state.hash()) << what;
  }

  TemporaryFolder folder_{"/dev/shm"};
  const ExampleState older_{{100, 1}};
  const ExampleState newer_{{200, 1}};
  std::unique_ptr<Store> cloud_;
  std::unique_ptr<Store> peer_;
};

TEST_F(S3SnapshotsTest, WithoutFaults) {
  EXPECT_OK(write_state(cloud(), older_));
  EXPECT_OK(write_state(cloud(), newer_));
  expect_restored({cloud_.get()}, newer_, "");
  EXPECT_OK(keep_newest(cloud(), kJob, 1));
  EXPECT_EQ(read_contents(cloud(), kJob)->snapshots.size(), 1U);
}

// Fault after fault while the newer step is saved; the older one is there before.
TEST_F(S3SnapshotsTest, FaultsDuringASave) {
  ASSERT_TRUE(write_state(cloud(), older_).ok());
  int faults = 0;
  for (const char* fault : {"500", "503", "reset", "reset_after", "garbage", "empty", "error_in_200", "507",
                            "403", "truncate", "wrong_upload", "gone"}) {
    for (const char* requests : {"PUT manifest", "POST uploads", "PUT partNumber=2", "POST uploadId="}) {
      for (const char* times : {"1", "1000"}) {
        const std::string what = std::string(fault) + " x " + times + " on " + requests;
        for (const std::string& key : keys_of(cloud(), step_folder(kJob, 200))) {
          ASSERT_TRUE(cloud().remove(key).ok());
        }
        server().tell(std::string("fault ") + fault + " " + times + " " + requests);
        const Status saved = write_state(cloud(), newer_);
        server().tell("clear");
        ++faults;
        // "wrong_upload" is what no client can see: the object is spoilt after it was signed.
        const auto alone = restore({cloud_.get()});
        ASSERT_TRUE(alone.has_value()) << what;
        const ExampleState& expected = alone->id == newer_.meta.id() ? newer_ : older_;
        EXPECT_EQ(alone->id, expected.meta.id()) << what;
        EXPECT_EQ(alone->hash, expected.hash()) << what;
        if (saved.ok()) {
          EXPECT_TRUE(alone->id == newer_.meta.id() || alone->failures > 0) << what;
        } else {
          EXPECT_THAT(saved.message(), HasSubstr("s3://")) << what;
        }
        expect_restored({cloud_.get(), peer_.get()}, newer_, what);
        EXPECT_OK(write_state(cloud(), newer_));  // tried again
        expect_restored({cloud_.get()}, newer_, what);
      }
    }
  }
  EXPECT_EQ(faults, 96);
}

TEST_F(S3SnapshotsTest, FaultsDuringARestore) {
  ASSERT_TRUE(write_state(cloud(), older_).ok());
  ASSERT_TRUE(write_state(cloud(), newer_).ok());
  int faults = 0;
  for (const char* fault : {"500", "503", "reset", "garbage", "empty", "truncate", "wrong_bytes",
                            "wrong_range", "ignore_range", "403", "400", "half_xml", "error_in_200"}) {
    for (const char* requests : {"GET list-type", "HEAD manifest", "GET rank-0.manifest",
                                 "GET 200/node-a.rank-0-0.pack", "GET 200/node-a.rank-1-0.pack", "* 200/"}) {
      for (const char* times : {"1", "1000"}) {
        const std::string what = std::string(fault) + " x " + times + " on " + requests;
        server().tell(std::string("fault ") + fault + " " + times + " " + requests);
        const auto alone = restore({cloud_.get()});
        if (alone.has_value()) {
          const ExampleState& expected = alone->id == newer_.meta.id() ? newer_ : older_;
          EXPECT_EQ(alone->id, expected.meta.id()) << what;
          EXPECT_EQ(alone->hash, expected.hash()) << what;
          EXPECT_TRUE(alone->id == newer_.meta.id() || alone->failures > 0) << what;
        }
        server().tell("clear");
        server().tell(std::string("fault ") + fault + " " + times + " " + requests);
        expect_restored({cloud_.get(), peer_.get()}, newer_, what);
        server().tell("clear");
        ++faults;
      }
    }
  }
  EXPECT_EQ(faults, 156);
  expect_restored({cloud_.get()}, newer_, "after all");
}

TEST_F(S3SnapshotsTest, AWrongByteOnTheWayIsReadAgain) {
  ASSERT_TRUE(write_state(cloud(), newer_).ok());
  const auto contents = read_contents(cloud(), kJob);
  ASSERT_TRUE(contents.ok());
  std::vector<std::byte> into(newer_.atoms[0].size());
  server().tell("forget");
  server().tell("fault wrong_bytes 1 GET pack");
  EXPECT_OK(read_atom(cloud(), kJob, contents->snapshots[0], 0, into));
  EXPECT_EQ(into, newer_.atoms[0]);
  EXPECT_EQ(server().count("GET pack"), 2);
  server().tell("fault wrong_bytes 1000 GET pack");
  EXPECT_EQ(read_atom(cloud(), kJob, contents->snapshots[0], 0, into).code(), Code::kDataLoss);
  server().tell("clear");
  server().tell("fault wrong_bytes 1 GET manifest");
  EXPECT_TRUE(read_contents(cloud(), kJob)->refused.empty());
}

}  // namespace
}  // namespace tessera::recovery
