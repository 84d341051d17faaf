/// Which messages a ring carries when some of its slots have nothing to compute.
///
/// A slot is *used* when the member that holds the chunk there sees something of it. In the full ring every
/// chunk visits all slots; with a mask it goes only where it is used:
///   out    slot 0 -> the used slots in slot order. A hop skips the members between two of them.
///   back   the partial gathers along the same slots, in the order of the full ring, and goes home from the
///          last one. Nobody ships a partial to which nobody contributed.
/// In a hierarchical ring (tile_assignment.h) the chunk enters an inner group at (o, 0), used or not, when
/// any slot of the group is used, and its partial leaves from there: what crosses inner groups stays between
/// members with equal inner index, once each way per group. Such a slot is visited, not used: its partial
/// holds only what it receives.
///
/// Each message belongs to the op that the full ring has for it, so the list of ops of tile_schedule.h and
/// its proofs hold as they are: out, the op of the receiver's slot; back, the op of the sender's slot. A
/// member may send or receive several messages of one op, or none.
///
/// Example, ring of 5, the chunk of member 4 used in slots 2 and 3, that is by members 2 and 1:
///   out   op 2: member 4 -> 2;  op 3: 2 -> 1          back  op 2: 2 -> 1, added there;  op 3: 1 -> 4
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/tile_assignment.h"

namespace tessera::runtime {

/// Of one ring: whether the slot `p` of the chunk of ring member `owner` is used. Slot 0 is the owner's own.
class RingUse {
 public:
  explicit RingUse(RingShape shape, bool used = true)
      : shape_(shape),
        used_(static_cast<std::size_t>(shape.size()) * static_cast<std::size_t>(shape.size()), used ? 1 : 0) {
  }
  [[nodiscard]] const RingShape& shape() const { return shape_; }
  [[nodiscard]] bool used(int owner, int p) const { return used_[at(owner, p)] != 0; }
  void set(int owner, int p, bool used) { used_[at(owner, p)] = used ? 1 : 0; }
  /// Used, or an inner group's entrance; slot 0 always.
  [[nodiscard]] bool visited(int owner, int p) const;

 private:
  [[nodiscard]] std::size_t at(int owner, int p) const {
    return static_cast<std::size_t>(owner * shape_.size() + p);
  }
  RingShape shape_;
  std::vector<char> used_;
};

/// Row ring (Q chunks) of the super-ranks with kv_index `ring`, or column ring of those with q_index `ring`.
[[nodiscard]] RingUse ring_use(const MeshShape& shape, const ChunkMask& mask, bool rows, int ring);

/// Ring index of the member that holds the chunk of `owner` in slot p: the inverse of RingPath::owner.
[[nodiscard]] int ring_holder(RingShape shape, int owner, int p);

struct RingMessage {
  bool back = false;  // a partial
  int op_slot = 0;    // slot of the op it belongs to
  int owner = 0;      // ring index of the chunk's owner
  int from = 0;       // ring indices
  int to = 0;
  int from_slot = 0;   // the chunk's slot at the sender
  int to_slot = 0;     // and at the receiver
  bool outer = false;  // crosses inner groups
  bool operator==(const RingMessage&) const = default;
};

/// The messages of the ring, out and back: all of them, at most 2 * size^2, or those that member `self` sends
/// or receives. O(size^2).
[[nodiscard]] std::vector<RingMessage> ring_messages(const RingUse& use);
[[nodiscard]] std::vector<RingMessage> ring_messages(const RingUse& use, int self);

}  // namespace tessera::runtime
