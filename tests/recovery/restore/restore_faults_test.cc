// Restores of random jobs whose stores are damaged and fail at random. TESSERA_RESTORE_SEEDS sets how many.
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/recovery/restore/restore_job.h"
#include "tests/support/draw.h"

namespace tessera::recovery {
namespace {

using test::Draw;
using ::testing::IsEmpty;

/// What was written, and what of it nothing happened to.
struct Written {
  RamStore* store;
  std::string writer;
  SnapshotId id;
  AtomSet clean;
};

struct Counts {
  int restored = 0;
  int newest = 0;  // restored to the newest step anybody wrote
  int older = 0;
  int lost = 0;
  int damages = 0;
};

class RandomJob {
 public:
  explicit RandomJob(int seed)
      : draw_(derive_key(2024, static_cast<std::uint64_t>(seed))), job_(1 + draw_.below(6)) {
    for (auto& node : job_.nodes) {
      node->ranks = 1 + draw_.below(3);
      if (draw_.with(0.5)) node->needed = some(0.7);
    }
    const int first_id = draw_.below(2);  // in half of the cases two attempts came to the same step
    for (const SnapshotId& id :
         {SnapshotId{100, 1}, SnapshotId{200, 1}, SnapshotId{first_id == 0 ? 200 : 300, 2}}) {
      save(id);
    }
    damage();
    decorate();
  }

  void run(int seed, Counts& counts) {
    const std::int64_t window = draw_.with(0.5) ? 500 : std::int64_t{1} << 28;
    const auto outcome =
        job_.restore_all([&](RestoreRequest& request, int) { request.window_bytes = window; });
    std::string story = "seed " + std::to_string(seed) + '\n';
    for (const std::string& line : outcome.of_rank_0.report.lines) story += line + '\n';
    ASSERT_THAT(outcome.faults, IsEmpty()) << story;
    counts.damages += damages_;
    const SnapshotId sure = newest_clean();
    if (!outcome.of_rank_0.status.ok()) {
      ASSERT_EQ(sure.step, 0) << story << outcome.of_rank_0.status.message();
      ASSERT_NE(outcome.of_rank_0.status.message(), "");
      ++counts.lost;
      return;
    }
    const SnapshotId id = outcome.of_rank_0.report.meta.id();
    ASSERT_GE(id, sure) << story;
    ++counts.restored;
    ++(id == newest_ ? counts.newest : counts.older);
  }

 private:
  AtomSet some(double probability) {
    AtomSet set(job_.table.count());
    for (int atom = 0; atom < set.size(); ++atom) {
      if (draw_.with(probability)) set.add(atom);
    }
    return set;
  }

  void save(const SnapshotId& id) {
    newest_ = std::max(newest_, id);
    const auto put = [&](RamStore& store, const AtomSet& atoms) {
      const std::string writer = "w" + std::to_string(written_.size());
      job_.save(store, writer, id, atoms);
      written_.push_back({&store, writer, id, atoms});
    };
    for (auto& node : job_.nodes) {
      if (draw_.with(0.7)) put(node->memory, draw_.with(0.4) ? job_.all() : some(0.6));
      if (draw_.with(0.5)) put(node->disk, draw_.with(0.4) ? job_.all() : some(0.6));
    }
    if (draw_.with(0.5)) put(job_.cloud, draw_.with(0.7) ? job_.all() : some(0.8));
  }

  void damage() {
    const int intensity = draw_.below(4);
    for (std::size_t i = 0; i < written_.size(); ++i) {
      Written& of = written_[i];
      if (!draw_.with(0.2 * intensity)) continue;
      ++damages_;
      auto& objects = of.store->objects();
      const std::string pack = step_folder(kJob, of.id.step) + of.writer + "-0.pack";
      const std::string manifest = manifest_key(kJob, of.id.step, of.writer);
      const bool has_pack = objects.contains(pack) && !objects.at(pack).empty();
      const auto flip = [&](std::vector<std::byte>& object, std::size_t at) {
        object[at] ^= std::byte{1} << draw_.below(8);
      };
      switch (draw_.below(6)) {
        case 0:  // a bit of some atoms
          for (int n = 0; n < 3 && has_pack; ++n) flip_in_atom(of, objects.at(pack));
          continue;
        case 1: {
          std::vector<std::byte>& text = objects.at(manifest);
          flip(text, static_cast<std::size_t>(draw_.below(static_cast<int>(text.size()))));
          break;
        }
        case 2:
          if (has_pack) objects.at(pack).resize(objects.at(pack).size() / 2);
          break;
        case 3: objects.erase(pack); break;
        case 4: objects.erase(manifest); break;
        case 5:  // another writer's bytes under this one's name
          for (const Written& other : written_) {
            const std::string theirs = step_folder(kJob, other.id.step) + other.writer + "-0.pack";
            if (other.store == of.store && other.writer != of.writer && objects.contains(theirs)) {
              objects[pack] = objects.at(theirs);
            }
          }
          break;
      }
      of.clean = AtomSet(job_.table.count());
    }
  }

  void flip_in_atom(Written& of, std::vector<std::byte>& pack) {
    const Result<StoreContents> contents = read_contents(*of.store, kJob);
    ASSERT_TRUE(contents.ok());
    for (const StoredSnapshot& snapshot : contents->snapshots) {
      if (snapshot.id() != of.id) continue;
      const int atom = draw_.below(job_.table.count());
      for (const StoredAtom& place : snapshot.places[static_cast<std::size_t>(atom)]) {
        if (!place.object.starts_with(of.writer + "-") || place.bytes == 0) continue;
        const auto at = static_cast<std::size_t>(place.offset + draw_.below(static_cast<int>(place.bytes)));
        if (at < pack.size()) pack[at] ^= std::byte{1};
        of.clean.remove(atom);
      }
    }
  }

  void decorate() {
    const auto faulty = [&](RamStore& store) -> Store* {
      if (!draw_.with(0.3)) return &store;
      Faults faults;
      faults.scope = static_cast<std::uint8_t>(1 + draw_.below(7));
      faults.probability = draw_.with(0.5) ? 1.0 : 0.3;
      faults.after = draw_.below(10);
      if (draw_.with(0.3)) faults.count = 1 + draw_.below(5);
      faults.wrong_bytes = draw_.with(0.3);
      faults.code = draw_.with(0.5) ? Code::kUnavailable : Code::kIoError;
      faults.seed = static_cast<std::uint64_t>(draw_.below(1 << 30));
      decorators_.push_back(std::make_unique<FaultyStore>(store, faults));
      // Writes that fail do not touch what is held.
      if ((faults.scope & (Faults::kRead | Faults::kList)) != 0) unsure_.insert(&store);
      return decorators_.back().get();
    };
    for (auto& node : job_.nodes) {
      node->memory_used = faulty(node->memory);
      node->disk_used = faulty(node->disk);
    }
    job_.cloud_used = faulty(job_.cloud);
  }

  /// The newest snapshot whose every atom has a copy that nothing happened to, in a store that always
  /// answers; step 0: none.
  [[nodiscard]] SnapshotId newest_clean() const {
    std::map<SnapshotId, AtomSet> clean;
    for (const Written& of : written_) {
      if (unsure_.contains(of.store)) continue;
      clean.try_emplace(of.id, AtomSet(job_.table.count())).first->second |= of.clean;
    }
    SnapshotId newest{0, 0};
    for (const auto& [id, atoms] : clean) {
      bool whole = true;
      for (int atom = 0; atom < atoms.size(); ++atom) {
        whole = whole && (atoms.has(atom) || job_.table.bytes(atom) == 0);
      }
      if (whole) newest = std::max(newest, id);
    }
    return newest;
  }

  Draw draw_;
  RestoreJob job_;
  SnapshotId newest_;
  std::vector<Written> written_;
  std::set<const RamStore*> unsure_;
  std::vector<std::unique_ptr<FaultyStore>> decorators_;
  int damages_ = 0;
};

TEST(RestoreFaults, WhatIsRestoredIsRightAndWhatCanBeIsRestored) {
  const char* const wanted = std::getenv("TESSERA_RESTORE_SEEDS");
  const int seeds = wanted != nullptr ? std::atoi(wanted) : 300;
  Counts counts;
  for (int seed = 0; seed < seeds; ++seed) {
    RandomJob(seed).run(seed, counts);
    if (HasFatalFailure()) return;
  }
  std::printf(
      "%d jobs, %d damaged snapshots: %d restored (%d to the newest step, %d to an older one), %d beyond "
      "repair\n",
      seeds, counts.damages, counts.restored, counts.newest, counts.older, counts.lost);
  if (seeds < 300) return;
  // The draw is hard enough and not too hard.
  EXPECT_GT(counts.newest, seeds / 10);
  EXPECT_GT(counts.older, seeds / 20);
  EXPECT_GT(counts.lost, seeds / 50);
}

}  // namespace
}  // namespace tessera::recovery
