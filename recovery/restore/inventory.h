/// Inventory: which snapshots there are, and who holds which atom of them. What one rank read from a store is
/// told to all (encode, decode) and put together the same way everywhere (merge).
///
/// A snapshot here is what agrees in everything that manifests say (StateMeta, AtomTable). Two that differ
/// stay two, so that atoms of a state that another attempt reached never mix with it. Where stores disagree
/// on an atom's checksum, the one that most stores name is believed, and the others' copies are left out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "algos/base/status.h"
#include "recovery/restore/restore_plan.h"
#include "recovery/state/atom.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/snapshot_files.h"

namespace tessera::recovery {

/// A store, for all: memory or disk of a node, or the cloud (node kCloudNode).
struct Holder {
  int node = kCloudNode;
  Tier tier = Tier::kCloud;
  auto operator<=>(const Holder&) const = default;
};

/// What one store said, as it travels.
struct StoreListing {
  Holder holder;
  StoreContents contents;  // of `refused` only the messages travel
  Status status;           // the store's, when it could not list
};

[[nodiscard]] std::vector<std::byte> encode(std::span<const StoreListing> listings);
/// Requires bytes of encode(): both ends are this program.
[[nodiscard]] std::vector<StoreListing> decode(std::span<const std::byte> bytes);

struct Snapshot {
  StateMeta meta;
  AtomTable table;
  std::vector<std::uint64_t> checksums;  // by atom; right where somebody holds it or it is empty
  std::vector<std::pair<Holder, StoredSnapshot>> stores;  // rising by Holder
  [[nodiscard]] const StoredSnapshot* in(const Holder& holder) const;

  /// Atoms, not empty, that nobody holds.
  [[nodiscard]] int lacking() const;
  [[nodiscard]] std::vector<NodeHoldings> held(int nodes) const;
  [[nodiscard]] AtomSet cloud() const;
};

/// Newest first; of equal SnapshotId the one that lacks less first. `lines` gets a sentence for whatever was
/// left out.
[[nodiscard]] std::vector<Snapshot> merge(std::vector<StoreListing> listings,
                                          const std::vector<std::string>& nodes,
                                          std::vector<std::string>& lines);

/// Index of the newest snapshot of which everything is somewhere; -1 if there is none.
[[nodiscard]] int newest_complete(std::span<const Snapshot> snapshots);

/// "memory of node a", "the cloud".
[[nodiscard]] std::string to_string(const Holder& holder, const std::vector<std::string>& nodes);

/// A message for a journal: a Complaint's screen as one line, without its remedy.
[[nodiscard]] std::string one_line(const std::string& message);

}  // namespace tessera::recovery
