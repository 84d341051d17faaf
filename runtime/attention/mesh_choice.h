/// Which mesh a context-parallel group of n ranks should use: every scheme of mesh_shape.h that fits, with
/// what it moves and how long that takes on given links. Pure.
///
/// Candidates. Every flat a x b. When nodes of g consecutive ranks are known, and there are several, also
///   head-parallel u x (a x b) for every u > 1 that divides g, heads and key/value heads, and each of those
///   meshes with its Q ring, or its KV ring, or both in node hierarchy where whole inner groups fill a node.
///
/// Time. Of one layer, forward and backward. The rings overlap with each other and with computation; the head
/// exchange with nothing:
///   seconds = exchange + max over ranks of inside / rank link, max over nodes of across / node link
/// where exchange is timed by the same rule for its own bytes. Computation is the same for all candidates, so
/// what it hides is left out: the order is right where transfers are exposed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"

namespace tessera::runtime {

struct MeshQuestion {
  int ranks = 1;
  int ranks_per_node = 0;  // consecutive; 0: unknown
  TokenLayout layout = TokenLayout::kZigzag;
  AttentionDims dims;
  bool causal = true;
  std::int32_t window = 0;
  double rank_gb_per_s = 5;     // GB/s one rank sends inside a node
  double node_gb_per_s = 12.5;  // GB/s that leave one node, all its ranks together
};

/// Bytes of one layer, forward and backward.
struct MeshCandidate {
  MeshShape shape;
  std::int64_t sent = 0;          // by all ranks
  std::int64_t across = 0;        // of these, between nodes; 0 when nodes are unknown
  std::int64_t busiest_rank = 0;  // most that one rank sends inside its node
  std::int64_t busiest_node = 0;  // most that leaves one node
  double seconds = 0;
};

/// Best first. Nodes unknown, or one: fewest bytes, then the smaller a. Else least time, then fewest bytes,
/// then no head exchange, then the smaller a.
[[nodiscard]] std::vector<MeshCandidate> rank_meshes(const MeshQuestion& question);

/// The table of at most `rows` candidates, and why the first was chosen.
[[nodiscard]] std::string mesh_table(const MeshQuestion& question,
                                     const std::vector<MeshCandidate>& candidates, std::size_t rows);

}  // namespace tessera::runtime
