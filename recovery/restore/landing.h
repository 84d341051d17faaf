/// Landing: where a rank puts the atoms it received, so that its node holds them from then on: the node's
/// memory, or its disk where memory refuses. The manifest comes at the end; without it nobody sees them.
///
///   J/step-00000200/node-b.rank-0003.restored-0-17.pack         atom 17
///   J/step-00000200/node-b.rank-0003.restored-0.manifest.json   after the whole restore
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/restore/restore_plan.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

struct LandedAtom {
  Tier tier = Tier::kMemory;
  StoredAtom place;
};

class Landing {
 public:
  /// The stores may be null. `manifest` says job, node, meta and table.
  Landing(Store* memory, Store* disk, SnapshotManifest manifest, int rank);

  /// Any thread. Errors: the last store's; kResourceExhausted where there is none.
  [[nodiscard]] Result<LandedAtom> keep(int atom, Bytes bytes, std::uint64_t xxh64);
  [[nodiscard]] Store& store(Tier tier) const { return tier == Tier::kMemory ? *memory_ : *disk_; }
  /// Writes the manifests; whatever fails leaves those atoms unseen.
  [[nodiscard]] Status publish();
  /// Removes what was kept, as far as the stores let it.
  void discard();

 private:
  [[nodiscard]] Result<std::string> writer_of(Tier tier);

  Store* memory_;
  Store* disk_;
  SnapshotManifest manifest_;
  int rank_;
  std::mutex mutex_;        // guards what follows
  std::string writers_[2];  // by tier; "" until the first atom
  std::vector<LandedAtom> landed_;
};

}  // namespace tessera::recovery
