/// A snapshot manifest with something of everything in it.
#pragma once

#include "recovery/state/snapshot_manifest.h"
#include "tests/support/model_spec.h"

namespace tessera::recovery {

/// Layers 0..3, two slices each; the head's second slice is empty.
inline AtomTable example_table() { return {4, 2, {140, 136, 500, 488, 500, 488, 12, 0}}; }

inline StateMeta example_meta() {
  StateMeta meta;
  meta.step = 200;
  meta.attempt = 3;
  meta.next_sample = 800;
  meta.seed = (std::uint64_t{1} << 63) + 5;
  meta.identity = {{"model.hidden_size", "12"}, {"data", "é\n\"\\"}, {"empty", ""}};
  meta.model = support::small_model();
  return meta;
}

/// Five atoms in one pack, with a gap.
inline SnapshotManifest example_manifest() {
  SnapshotManifest manifest;
  manifest.job = "job-1";
  manifest.writer = "node-a.rank-0003";
  manifest.node = "node-a";
  manifest.meta = example_meta();
  manifest.table = example_table();
  std::int64_t offset = 0;
  for (const int index : {0, 1, 7, 8, 23}) {
    const std::int64_t bytes = manifest.table.bytes(index);
    manifest.atoms.push_back({manifest.table.at(index), "node-a.rank-0003-0.pack", offset, bytes,
                              0x0123456789abcdefULL * static_cast<std::uint64_t>(index + 1)});
    offset += bytes + (index == 1 ? 64 : 0);
  }
  return manifest;
}

}  // namespace tessera::recovery
