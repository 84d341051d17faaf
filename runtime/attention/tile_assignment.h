/// Who computes which (Q chunk, KV chunk) block. Pure integer arithmetic; Mesh-Attention, arXiv 2512.20968.
///
/// n = a * b super-ranks, chunk g lives on super-rank g. With u = g / a and v = g % a
///   rows    R(g) = { u*a + t : t in [0,a) }       columns C(g) = { t*a + v : t in [0,b) }
/// so g owns block (i, j) iff i / a == u and j % a == v: each block has exactly one owner, g's own Q and KV
/// lie in its tile, and every chunk it needs belongs to its Q group (equal u) or KV group (equal v).
///
/// Slots are counted in arrival order. Row p = o * inner + i of a ring outer x inner holds, at the ring
/// member (V, w) with V = index / inner, w = index % inner, the chunk of member
/// ((V + o) mod outer, (w + i) mod inner). Row 0 and column 0 are the rank's own.
///
/// Hops. Slot (o, i), i >= 1, comes from slot (o, i-1) of the inner neighbour (V, w+1); slot (o, 0), o >= 1,
/// from slot (o-1, 0) of the outer neighbour (V+1, w): outer - 1 hops leave an inner group, all others stay.
/// Partials take the same links in the same direction: slot (o, i) of a member is slot (o, (i+1) mod inner)
/// of the inner neighbour it is sent to, slot (o, 0) is slot ((o+1) mod outer, 0) of the outer neighbour.
/// Shipped in an order that respects merged_before, slot 0 ends with one contribution of every member.
///
/// Worked example, 12 super-ranks, 4 x 3: rank 7 is u = 1, v = 3; its Q group is {4,5,6,7}, its KV group
/// {3,7,11}; its rows in arrival order are chunks 7, 4, 5, 6; its columns 7, 11, 3.
#pragma once

#include <vector>

#include "algos/base/index.h"
#include "runtime/attention/mesh_shape.h"

namespace tessera::runtime {

/// Where one hop of a ring brings a slot from and sends it to; indices are positions in the ring.
struct RingHop {
  int from = 0;         // ring index of the neighbour this member receives from
  int to = 0;           // ring index of the neighbour this member sends to
  int source_slot = 0;  // the slot as it is numbered at the sender
  bool outer = false;   // crosses inner groups (the slow links)
};

/// The hops of one ring for the member with index `self` in [0, size).
class RingPath {
 public:
  RingPath(RingShape shape, int self);
  /// Ring index of the owner of the chunk in slot p.
  [[nodiscard]] int owner(int p) const;
  /// The hop that fills slot p, p >= 1: receive slot p from `from`, where it is source_slot; the same op
  /// sends own source_slot to `to`.
  [[nodiscard]] RingHop receive(int p) const;
  /// The hop that ships the finished partial of slot k, k >= 1, to `to`; the same op receives `from`'s
  /// slot k, which belongs to own slot merge_slot(k) and is added there.
  [[nodiscard]] RingHop send_back(int k) const;
  [[nodiscard]] int merge_slot(int k) const;
  /// Slots k' whose send_back must have been received before slot k may be shipped: those merging into k.
  [[nodiscard]] std::vector<int> merged_before(int k) const;

 private:
  RingShape shape_;
  int self_;
};

class TileAssignment {
 public:
  explicit TileAssignment(MeshShape shape) : shape_(shape) {}

  [[nodiscard]] const MeshShape& shape() const { return shape_; }
  [[nodiscard]] int chunks() const { return shape_.super_ranks(); }

  /// Super-rank that computes block (Q i, KV j): a * (i div a) + (j mod a).
  [[nodiscard]] int owner(Chunk q, Chunk kv) const;

  [[nodiscard]] int q_index(int super_rank) const { return super_rank % shape_.a(); }
  [[nodiscard]] int kv_index(int super_rank) const { return super_rank / shape_.a(); }
  /// Super-ranks of the Q group (KV group) in ring order.
  [[nodiscard]] std::vector<int> q_group(int super_rank) const;
  [[nodiscard]] std::vector<int> kv_group(int super_rank) const;

  /// Chunk in row p / column q of a super-rank's tile.
  [[nodiscard]] Chunk row_chunk(int super_rank, Row p) const;
  [[nodiscard]] Chunk column_chunk(int super_rank, Column q) const;

 private:
  MeshShape shape_;
};

}  // namespace tessera::runtime
