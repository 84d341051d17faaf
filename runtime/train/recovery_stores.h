/// Where this rank's node keeps snapshots, as the train spec says: opened, named, and the same job
/// everywhere.
///
///   <recovery_memory>/<node>/<job>/step-00000200/<node>.rank-0003.manifest.json
///   <recovery_disk>/<node>/...
///   <recovery_cloud>/...
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/train_spec.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/store.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// Whether the spec names a place for snapshots.
[[nodiscard]] bool keeps_snapshots(const planner::TrainSpec& spec);

/// node_name of the spec, else TESSERA_NODE, else the host's name.
[[nodiscard]] std::string node_name(const planner::TrainSpec& spec);

/// Collective: the node of each rank.
[[nodiscard]] std::vector<std::string> gather_nodes(Communicator& world, const planner::TrainSpec& spec);

/// recovery_job of the spec, else a name that runs of equal identity share.
[[nodiscard]] std::string job_name(const planner::TrainSpec& spec, const recovery::RunIdentity& identity);

struct RecoveryStores {
  std::string job;
  std::string node;
  std::unique_ptr<recovery::Store> memory;  // null: none
  std::unique_ptr<recovery::Store> disk;
  std::unique_ptr<recovery::Store> cloud;
};
/// Errors    kInvalidArgument: a name that is no part of a key, an address that is none. The store's where a
///           folder cannot be made.
[[nodiscard]] Result<RecoveryStores> open_recovery_stores(const planner::TrainSpec& spec,
                                                          const recovery::RunIdentity& identity);

}  // namespace tessera::runtime
