/// Snapshots of a small job to write, spoil and restore.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "recovery/store/snapshot_files.h"
#include "tests/recovery/state/example_manifest.h"
#include "tests/recovery/store/store_test.h"

namespace tessera::recovery {

inline constexpr const char* kJob = "job-1";

/// The whole state at one step: every atom's bytes, a function of the step and the attempt.
struct ExampleState {
  explicit ExampleState(SnapshotId id) : meta(example_meta()) {
    meta.step = id.step;
    meta.attempt = id.attempt;
    meta.next_sample = 4 * id.step;
    table = example_table();
    for (int atom = 0; atom < table.count(); ++atom) {
      const std::uint64_t seed = derive_key(static_cast<std::uint64_t>(1000 * id.step + id.attempt),
                                            static_cast<std::uint64_t>(atom));
      atoms.push_back(random_bytes(seed, static_cast<std::size_t>(table.bytes(atom))));
      checksums.push_back(checksum(atoms.back()));
    }
  }
  [[nodiscard]] std::uint64_t hash() const { return state_hash(meta, checksums); }

  StateMeta meta;
  AtomTable table;
  std::vector<std::vector<std::byte>> atoms;
  std::vector<std::uint64_t> checksums;
};

/// The atoms that this rank of `ranks` writes: contiguous shares.
inline Result<SnapshotManifest> write_share(Store& store, const ExampleState& state, const std::string& node,
                                            int rank, int ranks) {
  SnapshotManifest manifest;
  manifest.job = kJob;
  manifest.node = node;
  manifest.writer = node + ".rank-" + std::to_string(rank);
  manifest.meta = state.meta;
  manifest.table = state.table;
  std::vector<AtomBytes> atoms;
  const int count = state.table.count();
  for (int atom = count * rank / ranks; atom < count * (rank + 1) / ranks; ++atom) {
    const auto index = static_cast<std::size_t>(atom);
    atoms.push_back({state.table.at(atom), state.atoms[index], state.checksums[index]});
  }
  return write_snapshot(store, manifest, atoms);
}

inline Status write_state(Store& store, const ExampleState& state, const std::string& node = "node-a") {
  constexpr int kRanks = 2;
  for (int rank = 0; rank < kRanks; ++rank) TS_TRY(write_share(store, state, node, rank, kRanks));
  return {};
}

/// What came of restoring from stores in this order: the newest snapshot that some store says it holds, every
/// atom from the first store that has it right, else an older one.
struct Restored {
  SnapshotId id;
  std::uint64_t hash = 0;
  int failures = 0;  // everything that was noticed on the way: manifests refused, atoms missing or wrong
};

inline std::optional<Restored> restore(const std::vector<Store*>& stores) {
  Restored restored;
  std::vector<StoreContents> contents;
  std::vector<SnapshotId> ids;
  for (Store* store : stores) {
    auto found = read_contents(*store, kJob);
    contents.push_back(found.ok() ? std::move(found).value() : StoreContents());
    restored.failures += static_cast<int>(contents.back().refused.size()) + (found.ok() ? 0 : 1);
    for (const StoredSnapshot& snapshot : contents.back().snapshots) ids.push_back(snapshot.id());
  }
  std::sort(ids.rbegin(), ids.rend());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const SnapshotId& id : ids) {
    std::optional<StateMeta> meta;
    std::vector<std::uint64_t> sums;
    bool whole = true;
    for (int atom = 0; atom < example_table().count() && whole; ++atom) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(example_table().bytes(atom)));
      bool found = false;
      for (std::size_t s = 0; s < stores.size() && !found; ++s) {
        for (const StoredSnapshot& snapshot : contents[s].snapshots) {
          if (snapshot.id() != id) continue;
          meta = snapshot.meta;
          found = read_atom(*stores[s], kJob, snapshot, atom, bytes).ok();
        }
        restored.failures += found ? 0 : 1;
      }
      whole = found;
      sums.push_back(checksum(bytes));
    }
    if (!whole) continue;
    restored.id = id;
    restored.hash = state_hash(*meta, sums);
    return restored;
  }
  return std::nullopt;
}

}  // namespace tessera::recovery
