/// Restore: brings the newest whole snapshot of a job back to its ranks, from the node, then peers, then the
/// cloud. Collective over `peers`; the outcome is the same on every rank.
///
///   1. One rank of each node lists what its stores hold, one rank what the cloud holds; all learn all of it.
///   2. The newest snapshot of which every atom is somewhere (inventory.h).
///   3. A plan (restore_plan.h), then one round of it: nodes read, send, receive and download at the same
///      time, each rank inside `window_bytes`. Whoever reads an atom checks it: the source before it sends,
///      the receiver again.
///   4. All ranks tell what failed; those holdings are struck out, and 3 is repeated with what is left.
///   5. Nothing left for some atom: 2 without this snapshot.
///
/// A node keeps the atoms it received in its own store (memory, or disk where memory has no room), with a
/// manifest at the end: a further copy for the next loss, and how ranks of one node share what came once.
/// Where neither has room, each rank gets its own copy over the network, a round for each.
///
/// Example: 2 nodes with 2 ranks each; node b is new. Ranks 2 and 3 need the atoms 0-5. Node a holds 0-5 in
/// memory, 3 of it damaged, and the cloud holds all. Round 1: ranks 0 and 1 send three atoms each, 3 fails;
/// round 2: 3 comes from the cloud. Line: "layer 0, slice 1, weight: memory of node a failed: ...; node b
/// takes the cloud".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/peer/peer_exchange.h"
#include "recovery/restore/restore_plan.h"
#include "recovery/state/atom.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

struct RestoreRequest {
  std::string job;
  std::string node;         // a part of a key; ranks of one name share the stores below
  Store* memory = nullptr;  // of this node; null: there is none
  Store* disk = nullptr;
  Store* cloud = nullptr;   // the same for all
  bool cloud_only = false;  // baseline: every node takes everything from the cloud, itself

  AtomTable table;  // of the model that is trained
  AtomSet needed;   // by this rank
  /// Whether a snapshot is of this run; a refused one is left out, and its message becomes a line. The same
  /// answer on every rank.
  std::function<Status(const StateMeta&)> accept;
  /// Takes an atom's bytes, which have been verified. From any thread, one call at a time; each needed atom
  /// that is not empty once, and all of them again if an older snapshot must serve.
  std::function<void(int atom, Bytes)> deliver;

  NodeRates rates;                                      // of this node
  double cloud_total = 1e10;                            // bytes per second, all nodes together
  std::int64_t window_bytes = std::int64_t{256} << 20;  // each of: sent, received, downloaded at a time; one
                                                        // atom always may
  int cloud_connections = 4;                            // of this rank
};

struct RestoreReport {
  StateMeta meta;
  std::vector<std::uint64_t> checksums;  // by atom, empty ones too: what state_hash() takes
  RestorePlan plan;                      // of the first round of the snapshot that served
  std::string plan_text;
  SourceBytes bytes;  // moved and right, all nodes together
  int rounds = 0;
  double seconds = 0;              // of this rank, from the call to the return
  std::vector<std::string> lines;  // decisions in order, for a journal
};

struct RestoreOutcome {
  /// kOk. kNotFound: no snapshot of the job anywhere. kDataLoss: there are some, and none can be put
  /// together. kResourceExhausted: a node has no room for atoms that its ranks must share.
  Status status;
  RestoreReport report;  // lines also where status is not ok
};

/// Throws what `peers` throws and what `deliver` throws. Requires equal job and table on every rank. No
/// listing of a store and no atom may take two thirds of the peers' deadline; the whole may take any time.
/// Memory    three windows, or for each of the three the largest atom if that is more.
[[nodiscard]] RestoreOutcome restore(PeerExchange& peers, const RestoreRequest& request);

}  // namespace tessera::recovery
