/// What one writer has put into one store at one step. Written after everything it names, so that its
/// presence makes the snapshot; reading trusts nothing.
///
/// Keys in a store, for job J (recovery/store/store.h):
///
///   J/step-00000200/<writer>.manifest.json
///   J/step-00000200/<writer>-0.pack              atoms one after the other
///
/// A writer is a rank of a node: "node-a.rank-0003". One manifest per writer instead of one per node: ranks
/// of a node then need not wait for each other, and a rank that dies takes nothing with it but its own atoms.
///
/// Manifests make one snapshot when step and attempt are equal. A job that goes on from an older step on
/// another layout comes to the same step again with other rounding: its atoms must not mix with the earlier
/// ones, which a store of a node that was away may still hold.
///
/// The manifest's own XXH64 is over all of it as JSON without white space, which is how it is written; a pack
/// has none of its own: each atom has one, and nothing else is in a pack.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "recovery/state/atom.h"

namespace tessera::recovery {

/// What must be the same for a run to be the same run: names and values, in a fixed order.
using RunIdentity = std::vector<std::pair<std::string, std::string>>;

struct SnapshotId {
  std::int64_t step = 0;
  std::int64_t attempt = 0;
  auto operator<=>(const SnapshotId&) const = default;  // the greater is the newer
};
[[nodiscard]] std::string to_string(const SnapshotId& id);  // "step 200 of attempt 3"

/// The training state that is not floats. Every random number is a function of seed and counters.
struct StateMeta {
  std::int64_t step = 0;         // optimizer steps done; the learning-rate schedule is a function of it
  std::int64_t attempt = 0;      // rises with each start of the job; the same on every rank
  std::int64_t next_sample = 0;  // number of the first sample not yet trained on
  std::uint64_t seed = 0;
  RunIdentity identity;
  planner::ModelSpec model;

  [[nodiscard]] SnapshotId id() const { return {step, attempt}; }
};

struct StoredAtom {
  AtomId atom;
  std::string object;       // key inside the step's folder, begins with the writer: "node-a.rank-0003-0.pack"
  std::int64_t offset = 0;  // bytes
  std::int64_t bytes = 0;
  std::uint64_t xxh64 = 0;
  bool operator==(const StoredAtom&) const = default;
};

struct SnapshotManifest {
  std::string job;  // job, writer and node are one part of a key each (recovery/state/store_key.h)
  std::string writer;
  std::string node;
  StateMeta meta;
  AtomTable table;
  std::vector<StoredAtom> atoms;  // rising by AtomId, each once
};

[[nodiscard]] std::string to_json(const SnapshotManifest& manifest);
/// Reads what to_json() wrote and nothing else: every byte counts. The table must be the model's, each atom
/// have the table's size, and no two lie over each other in a pack.
/// Errors    kDataLoss, naming `name` and the field.
[[nodiscard]] Result<SnapshotManifest> parse_snapshot_manifest(std::string_view text,
                                                               const std::string& name);

/// "J/step-00000200/" and the step of a key below it; kNotFound for a key of another kind.
[[nodiscard]] std::string step_folder(const std::string& job, std::int64_t step);
[[nodiscard]] Result<std::int64_t> step_of_key(const std::string& job, std::string_view key);
[[nodiscard]] std::string manifest_key(const std::string& job, std::int64_t step, const std::string& writer);
[[nodiscard]] bool is_manifest_key(std::string_view key);

[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes);

/// One number for the whole state, whatever the layout: XXH64 over the atoms' checksums in canonical order
/// (8 bytes each, little-endian), the empty atoms' too, preceded by step and next_sample. Requires one for
/// each atom of the table.
[[nodiscard]] std::uint64_t state_hash(const StateMeta& meta, std::span<const std::uint64_t> atom_checksums);

}  // namespace tessera::recovery
