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
/// The manifest's own XXH64 is over all of it as JSON without white space; a pack has none of its own: each
/// atom has one, and nothing else is in a pack.
#pragma once

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

/// The training state that is not floats. Every random number is a function of seed and counters.
struct StateMeta {
  std::int64_t step = 0;         // optimizer steps done; the learning-rate schedule is a function of it
  std::int64_t next_sample = 0;  // number of the first sample not yet trained on
  std::uint64_t seed = 0;
  RunIdentity identity;
  planner::ModelSpec model;
};

struct StoredAtom {
  AtomId atom;
  std::string object;       // key inside the step's folder: "node-a.rank-0003-0.pack"
  std::int64_t offset = 0;  // bytes
  std::int64_t bytes = 0;
  std::uint64_t xxh64 = 0;
};

struct SnapshotManifest {
  std::string job;
  std::string writer;
  std::string node;
  StateMeta meta;
  AtomTable table;
  std::vector<StoredAtom> atoms;  // rising by AtomId, each once
};

[[nodiscard]] std::string to_json(const SnapshotManifest& manifest);
/// Errors    kDataLoss, naming `name` and the field.
[[nodiscard]] Result<SnapshotManifest> parse_snapshot_manifest(std::string_view text,
                                                               const std::string& name);

/// "J/step-00000200/" and the step of a key below it; kNotFound for a key of another kind.
[[nodiscard]] std::string step_folder(const std::string& job, std::int64_t step);
[[nodiscard]] Result<std::int64_t> step_of_key(const std::string& job, std::string_view key);
[[nodiscard]] std::string manifest_key(const std::string& job, std::int64_t step, const std::string& writer);

[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes);

/// One number for the whole state, whatever the layout: XXH64 over the atoms' checksums in canonical order
/// (8 bytes each, little-endian), the empty atoms' too, preceded by step and next_sample. Requires one for
/// each atom of the table.
[[nodiscard]] std::uint64_t state_hash(const StateMeta& meta, std::span<const std::uint64_t> atom_checksums);

}  // namespace tessera::recovery
