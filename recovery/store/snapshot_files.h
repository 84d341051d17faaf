/// Snapshots in a store: written pack first, manifest last; read back atom by atom, each verified.
///
/// A store may hold a part of a snapshot (a node's memory) or all of it (the cloud). Nothing read is trusted:
/// a manifest must lie under the key its contents say, manifests of one snapshot must agree, and an atom's
/// bytes must have its checksum. What cannot be used is reported and left out.
///
/// Example: node-a's memory holds of step 200
///   job/step-00000200/node-a.rank-0000.manifest.json   layers 0-1
///   job/step-00000200/node-a.rank-0000-0.pack
///   job/step-00000200/node-a.rank-0001-0.pack          its writer died before the manifest: invisible
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/state/atom.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

/// One atom's bytes and the checksum they had when they were known to be right: it is stored as given, so
/// that what happens to the bytes afterwards is noticed.
struct AtomBytes {
  AtomId atom;
  Bytes bytes;
  std::uint64_t xxh64 = 0;
};

/// Puts one pack of these atoms, then `manifest` with `atoms` filled in; returns that manifest.
/// Requires  atoms rising by AtomId, each once, with the table's sizes.
/// Errors    the store's. What remains of a failed write is invisible, and replaced by the next of this
/// writer.
[[nodiscard]] Result<SnapshotManifest> write_snapshot(Store& store, SnapshotManifest manifest,
                                                      std::span<const AtomBytes> atoms);

/// What one store holds of one snapshot, by all writers together.
struct StoredSnapshot {
  StateMeta meta;
  AtomTable table;
  AtomSet held;
  std::vector<std::vector<StoredAtom>> places;  // by index of the atom; equal checksums, one for each writer

  [[nodiscard]] SnapshotId id() const { return meta.id(); }
  /// Every atom that is not empty is held.
  [[nodiscard]] bool complete() const;
};

struct StoreContents {
  std::vector<StoredSnapshot> snapshots;  // newest first
  std::vector<Status> refused;            // each manifest that cannot be used, and why
};

/// Errors    the store's, when it cannot list; a manifest that cannot be read is among `refused`.
/// Cost      one list, one read for each manifest.
[[nodiscard]] Result<StoreContents> read_contents(Store& store, const std::string& job);

/// Fills `into`, which has the atom's size, from the first place whose bytes have the checksum. An empty atom
/// is always there.
/// Errors    kNotFound: not held. kDataLoss: held, and no place is right. Others: the store's.
[[nodiscard]] Status read_atom(Store& store, const std::string& job, const StoredSnapshot& snapshot, int atom,
                               std::span<std::byte> into);

/// Removes every object of the job's steps before `step`, manifests first.
[[nodiscard]] Status remove_before(Store& store, const std::string& job, std::int64_t step);

/// For a store that holds whole snapshots: keeps the newest `count` steps that are complete in it and
/// everything newer than the oldest of them. Removes nothing while fewer are complete.
[[nodiscard]] Status keep_newest(Store& store, const std::string& job, int count);

}  // namespace tessera::recovery
