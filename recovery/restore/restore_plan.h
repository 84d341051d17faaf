/// RestorePlan: which node gets which atom from where. A pure function of what is needed and who holds it;
/// the executor (restore.h) obeys. Source: AutoHet, arXiv:2512.20953, local-first loading.
///
/// Order of sources of an atom at a node: its own memory, its own disk, other nodes (memory before disk where
/// the load allows), the cloud. An atom that no node holds comes from the cloud once, then from node to node.
///
/// A node that has received an atom may pass it on, one wave later at the earliest. Waves are the plan's
/// clock: what is in one wave moves at the same time, and the network's time is the sum over waves. With many
/// atoms the waves are a pipeline: while atom 1 goes from the first receiver to the second, atom 2 arrives.
///
///   memory, disk, NIC in, NIC out of each node, cloud per node and in total: each a resource of a rate.
///   T_w       max over resources of (bytes of wave w using it / rate): reached when all of a wave move at
///   once,
///             each at a constant share
///   makespan  max(sum_w T_w, memory and disk of each node with what it loads for itself)
///   bound     what no plan under the order above can beat; see lower_bound_s
///
/// Example: nodes a, b hold atom X (8 MB), c and d need it, NIC 1 MB/s. c from a, d from b: 8 s, bound 8 s.
/// Were b gone: c from a in wave 0, d from c in wave 1: 16 s for one atom; for many, c and d get half of them
/// each from a and swap: little above 8 s for each 8 MB.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/state/atom.h"

namespace tessera::recovery {

enum class Tier : std::uint8_t { kMemory, kDisk, kCloud };
[[nodiscard]] const char* tier_name(Tier tier);  // "memory", "disk", "cloud"

/// What one node's stores hold.
struct NodeHoldings {
  AtomSet memory;
  AtomSet disk;
};

/// Bytes per second. The defaults are a common cloud instance's; a plan is right with any, and short with the
/// true ones.
struct NodeRates {
  double memory = 4e9;
  double disk = 1e9;
  double nic_in = 1.25e9;
  double nic_out = 1.25e9;
  double cloud = 2.5e8;  // of this node from the cloud; it comes in through the NIC too
  bool operator==(const NodeRates&) const = default;
};

struct RestoreProblem {
  std::vector<std::int64_t> atom_bytes;
  std::vector<AtomSet> needed;     // by node
  std::vector<NodeHoldings> held;  // by node
  AtomSet cloud;
  std::vector<NodeRates> rates;  // by node; all > 0
  double cloud_total = 1e10;     // bytes per second of all nodes together
  bool forward = true;           // false: nobody passes on what it received
};

/// A node reads the atom out of its own store.
struct Load {
  int atom = 0;
  int node = 0;
  Tier tier = Tier::kMemory;  // never kCloud
  bool operator==(const Load&) const = default;
};

inline constexpr int kCloudNode = -1;

struct Fetch {
  int atom = 0;
  int to = 0;
  int from = kCloudNode;
  Tier tier = Tier::kCloud;  // at `from`; kMemory for what it passes on
  bool passed_on = false;    // `from` receives it in an earlier wave
  int wave = 0;
  bool operator==(const Fetch&) const = default;
};

struct SourceBytes {
  std::int64_t own_memory = 0;
  std::int64_t own_disk = 0;
  std::int64_t peer_memory = 0;  // also what is passed on
  std::int64_t peer_disk = 0;
  std::int64_t cloud = 0;
  [[nodiscard]] std::int64_t total() const { return own_memory + own_disk + peer_memory + peer_disk + cloud; }
  SourceBytes& operator+=(const SourceBytes& other);
  bool operator==(const SourceBytes&) const = default;
};
[[nodiscard]] std::string to_string(const SourceBytes& bytes);  // "own memory 1.0 MB (50 %), ..., cloud 0 B"

struct RestorePlan {
  std::vector<Load> loads;     // by node, then atom
  std::vector<Fetch> fetches;  // rising by wave, so that a copy is received before it is passed on
  double makespan_s = 0;
  double lower_bound_s = 0;
  SourceBytes bytes;

  /// makespan over bound; 1 where there is nothing to do.
  [[nodiscard]] double ratio() const { return lower_bound_s > 0 ? makespan_s / lower_bound_s : 1.0; }
};

/// Empty atoms need no copy. The same plan from the same problem, on every rank.
/// Errors    kDataLoss naming the atoms that nobody holds.
/// Cost      F fetches, N nodes: O(F (N + log F)) and moves that shorten the plan, at most a constant times
/// F.
[[nodiscard]] Result<RestorePlan> make_restore_plan(const RestoreProblem& problem);

/// max of, over nodes: own loads / memory or disk; what it lacks / NIC in; what only it must download / its
/// cloud rate; over each set S of nodes that alone hold some lacking atoms: their bytes, once / NIC out of S
/// together (and of S's disks, where no memory has them); all copies between nodes / NIC out of all; what no
/// node holds / cloud.
[[nodiscard]] double lower_bound_s(const RestoreProblem& problem);

/// One row for each node: what it loads, gets and gives, and the seconds that takes.
[[nodiscard]] std::string to_text(const RestorePlan& plan, const RestoreProblem& problem);

}  // namespace tessera::recovery
