/// Which ranks keep which atoms of a snapshot, and what must travel for it. A pure function of the plan, of
/// the node of each rank, of the nodes' fault domains and budgets: every rank works out the same.
///
/// ZeRO-1 has each moment once in the job and each weight once per replica. Rules, in this order:
///   copies    each atom goes to `copies` nodes, fewer only where there are fewer nodes. Of the nodes left,
///   the
///             next holder is in another fault domain than those chosen, has room in its budget, and then
///               a weight   is there already, and no data-parallel group of a chosen node is on the node
///               a moment   no group of a chosen node is on the node; has most of the atom already
///             so that a lost node, or all nodes of a group, take no atom with them
///   spare     what is left of a node's budget takes atoms that its own ranks would need on a restart and of
///             which at least half is there already: 0/1 knapsack (algos/knapsack), the profit being the
///             bytes that are there. `spare_copies` further copies of other atoms then follow, likewise.
///   cloud     one of its holders takes each atom to the cloud: the one with least to upload
/// On a node, the rank that has most of the atom keeps it, and of several the one that keeps least.
///
/// Example, 2 nodes, data-parallel 2, a rank each: both keep every weight, nothing travels for it; of a
/// moment that rank 0 updates rank 1 gets a copy; each uploads one half of everything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/plan/plan.h"
#include "recovery/state/atom.h"
#include "runtime/train/atom_layout.h"

namespace tessera::runtime {

/// What a rank has to give.
struct RankHoldings {
  int node = 0;
  int group = 0;                  // data-parallel
  std::vector<int> weights;       // blocks of which it has the whole weight, rising
  std::vector<AtomSpan> moments;  // of the blocks' moments; of all ranks together each float once
};
[[nodiscard]] std::vector<RankHoldings> rank_holdings(const planner::ModelSpec& model,
                                                      const planner::Plan& plan,
                                                      const std::vector<int>& nodes);

struct SnapshotNode {
  std::string name;
  int domain = 0;                               // nodes of one domain are lost together
  std::int64_t budget = std::int64_t{1} << 62;  // bytes of one snapshot
};

struct PlacementQuestion {
  recovery::AtomTable table;
  std::vector<RankHoldings> ranks;
  std::vector<SnapshotNode> nodes;
  int copies = 2;
  int spare_copies = 0;
};

/// Floats [begin, end) of an atom, from the rank that has them to one that keeps the atom; from == to:
/// nothing travels.
struct Piece {
  int atom = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  int from = 0;
  int to = 0;
  [[nodiscard]] std::int64_t bytes() const { return (end - begin) * 4; }
  auto operator<=>(const Piece&) const = default;
};

struct SnapshotPlacement {
  std::vector<std::vector<int>> holders;  // by atom: ranks, one of each node, in the order they were chosen
  std::vector<int> cloud;                 // by atom: the holder that uploads it; -1: empty atoms
  std::vector<Piece> pieces;              // by `to`, then atom, then begin
  std::vector<std::int64_t> kept;         // by node: bytes of one snapshot
  std::vector<std::int64_t> uploaded;     // by node

  [[nodiscard]] std::int64_t travelling() const;  // bytes between ranks
};

[[nodiscard]] SnapshotPlacement place_snapshot(const PlacementQuestion& question);

/// A row for each node: what it keeps, how much of it reaches it over the network, what it uploads; and how
/// many nodes keep the atom that fewest keep.
[[nodiscard]] std::string to_text(const SnapshotPlacement& placement, const PlacementQuestion& question);

}  // namespace tessera::runtime
