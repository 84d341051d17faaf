#include "recovery/restore/inventory.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/recovery/restore/restore_job.h"

namespace tessera::recovery {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<std::string> kNodes = {"a", "b"};

StoreListing listing(const RestoreJob& job, const Holder& holder, const SnapshotId& id, const AtomSet& atoms,
                     std::uint64_t salt = 0) {
  StoredSnapshot stored{job.meta(id), job.table, AtomSet(job.table.count()),
                        std::vector<std::vector<StoredAtom>>(static_cast<std::size_t>(job.table.count()))};
  for (int atom = 0; atom < job.table.count(); ++atom) {
    if (!atoms.has(atom)) continue;
    stored.held.add(atom);
    stored.places[static_cast<std::size_t>(atom)].push_back({job.table.at(atom), "w-0.pack", 100 * atom,
                                                             job.table.bytes(atom),
                                                             mix64(static_cast<std::uint64_t>(atom)) ^ salt});
  }
  return {holder, {{stored}, {Status(Code::kDataLoss, "left out")}}, {}};
}

TEST(Inventory, WhatIsSentIsWhatComes) {
  const RestoreJob job(1);
  std::vector<StoreListing> sent = {listing(job, {1, Tier::kDisk}, {200, 3}, job.atoms(3, 9)),
                                    {Holder{}, {}, Status(Code::kUnavailable, "503")}};
  const std::vector<StoreListing> got = decode(encode(sent));
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].holder, (Holder{1, Tier::kDisk}));
  ASSERT_EQ(got[0].contents.refused.size(), 1U);
  EXPECT_EQ(got[0].contents.refused.front().message(), "left out");
  ASSERT_EQ(got[0].contents.snapshots.size(), 1U);
  const StoredSnapshot& before = sent[0].contents.snapshots.front();
  const StoredSnapshot& after = got[0].contents.snapshots.front();
  EXPECT_EQ(after.id(), before.id());
  EXPECT_EQ(after.meta.identity, before.meta.identity);
  EXPECT_EQ(after.table, before.table);
  EXPECT_EQ(after.held, before.held);
  EXPECT_EQ(after.places, before.places);
  EXPECT_EQ(got[1].holder, Holder{});
  EXPECT_EQ(got[1].status.code(), Code::kUnavailable);
  EXPECT_EQ(got[1].status.message(), "503");
}

TEST(Inventory, TheNewestWholeSnapshotOfAllStoresTogether) {
  const RestoreJob job(1);
  const int atoms = job.table.count();
  std::vector<std::string> lines;
  const std::vector<Snapshot> snapshots =
      merge({listing(job, Holder{}, {100, 1}, job.all()),
             listing(job, {0, Tier::kMemory}, {200, 1}, job.atoms(0, 9)),
             listing(job, {1, Tier::kDisk}, {200, 1}, job.atoms(9, atoms)),
             listing(job, {1, Tier::kMemory}, {300, 1}, job.atoms(1, atoms))},
            kNodes, lines);
  ASSERT_EQ(snapshots.size(), 3U);
  EXPECT_EQ(snapshots[0].lacking(), 1);
  EXPECT_EQ(newest_complete(snapshots), 1);
  EXPECT_EQ(snapshots[1].meta.step, 200);
  EXPECT_EQ(snapshots[1].held(2)[0].memory, job.atoms(0, 9));
  EXPECT_EQ(snapshots[1].held(2)[1].disk, job.atoms(9, atoms));
  EXPECT_EQ(snapshots[2].cloud(), job.all());
  EXPECT_EQ(newest_complete(std::span(snapshots).first(1)), -1);
  EXPECT_EQ(newest_complete({}), -1);
}

/// The empty atom at the table's end lacks nowhere.
TEST(Inventory, EmptyAtomsNeedNoHolder) {
  const RestoreJob job(1);
  std::vector<std::string> lines;
  const auto snapshots = merge({listing(job, Holder{}, {100, 1}, job.atoms(0, 21))}, kNodes, lines);
  ASSERT_EQ(job.table.bytes(21), 0);
  EXPECT_EQ(newest_complete(snapshots), 0);
}

TEST(Inventory, SnapshotsThatDifferInAnythingStayApart) {
  const RestoreJob job(1);
  StoreListing other = listing(job, {1, Tier::kMemory}, {200, 1}, job.atoms(9, job.table.count()));
  other.contents.snapshots.front().meta.next_sample += 1;
  std::vector<std::string> lines;
  const auto snapshots =
      merge({listing(job, {0, Tier::kMemory}, {200, 1}, job.atoms(0, 9)), other}, kNodes, lines);
  EXPECT_EQ(snapshots.size(), 2U);
  EXPECT_EQ(newest_complete(snapshots), -1);
}

TEST(Inventory, TheChecksumOfMostStoresIsBelieved) {
  const RestoreJob job(1);
  std::vector<std::string> lines;
  const auto snapshots = merge({listing(job, {0, Tier::kMemory}, {200, 1}, job.atoms(4, 5)),
                                listing(job, {0, Tier::kDisk}, {200, 1}, job.atoms(4, 5), 77),
                                listing(job, Holder{}, {200, 1}, job.atoms(4, 5))},
                               kNodes, lines);
  ASSERT_EQ(snapshots.size(), 1U);
  EXPECT_EQ(snapshots[0].checksums[4], mix64(4));
  EXPECT_TRUE(snapshots[0].held(1)[0].memory.has(4));
  EXPECT_FALSE(snapshots[0].held(1)[0].disk.has(4));
  EXPECT_THAT(lines,
              ElementsAre("the cloud: a manifest is left out: left out",
                          "memory of node a: a manifest is left out: left out",
                          "disk of node a: a manifest is left out: left out",
                          "layer 0, slice 1, first_moment of step 200 of attempt 1: disk of node a names "
                          "another checksum than most stores; not used"));
}

TEST(Inventory, AComplaintBecomesOneLine) {
  const Status status = bad_input({"s3://b/k", "", "3 bytes", "4", "none"});
  EXPECT_EQ(one_line(status.message()), "s3://b/k; found 3 bytes; expected 4");
  EXPECT_EQ(one_line("no  more"), "no more");
  EXPECT_EQ(one_line(""), "");
}

}  // namespace
}  // namespace tessera::recovery
