/// In which order one rank's tile is received, computed and sent. Pure; the same list for every rank.
/// Mesh-Attention, arXiv 2512.20968, the greedy scheduler; the roll-out planner and its proofs are in
/// docs/mesh_attention.md.
///
/// Ops. One op is one ring shift by all ranks of a group at once:
///   receive_row p     p in [1,a)   Q chunk (backward: Q, dO, lse, delta) into row p
///   receive_column q  q in [1,b)   K and V into column q
///   send_row k        k in [1,a)   partial O and lse (backward: dQ) of row k, merged by the receiver
///   send_column k     k in [1,b)   backward only: dK and dV of column k
///
/// Dependencies. Block (p, q) needs row p and column q. send_row k needs every block of row k and the
/// earlier send_row ops that merge into row k (RingPath::merged_before). send_column likewise.
/// Row 0 (forward), block (0, 0) and what of row 0 and column 0 is not yet due (backward) is the reserve
/// that hides the last sends.
///
/// Rings may be hierarchical; merged_before then is a tree with one chain per outer index and one across them
/// instead of one chain.
///
/// Legal list: each op once; receive ops in slot order; send ops in an order that respects merged_before;
/// a send_row k only after all receive_column and receive_row k; a send_column k only after all
/// receive_row and receive_column k. A legal list is a topological order on every rank alike: no deadlock.
/// Legal compute order: each block once, and a rank that starts transfers strictly in list order and blocks
/// strictly in compute order reaches the end of both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "runtime/attention/mesh_shape.h"

namespace tessera::runtime {

enum class Pass : std::uint8_t { kForward, kBackward };
enum class Transfer : std::uint8_t { kReceiveRow, kReceiveColumn, kSendRow, kSendColumn };

struct TransferOp {
  Transfer kind = Transfer::kReceiveRow;
  int slot = 0;
  bool operator==(const TransferOp&) const = default;
};

struct Block {
  int row = 0;
  int column = 0;
  bool operator==(const Block&) const = default;
};

/// What hops and blocks cost; any unit of time, all the same one.
struct ScheduleCosts {
  double block = 1;  // one full block
  double receive_row = 1;
  double receive_column = 2;
  double send_row = 1;
  double send_column = 2;
  double outer_factor = 1;  // outer hops take this many times as long
  bool two_lanes = false;   // row and column transfers on separate links
};

struct TileSchedule {
  Pass pass = Pass::kForward;
  MeshShape shape;
  std::vector<TransferOp> transfers;  // issue order
  std::vector<Block> blocks;  // compute order: earliest deadline first; fixed, hence bit-for-bit repeatable
};

/// Start and end of everything, for reports and tests.
struct ScheduleTimeline {
  struct Span {
    double start = 0;
    double end = 0;
  };
  std::vector<Span> transfers;  // parallel to TileSchedule::transfers
  std::vector<Span> blocks;     // parallel to TileSchedule::blocks
  double makespan = 0;
  double compute_idle = 0;  // time before the makespan in which nothing was computed
};

/// ok, or which rule the list breaks.
[[nodiscard]] Status check_schedule(const TileSchedule& schedule);

/// Exact event simulation. Each lane runs its ops in list order, an op starting at max(lane free,
/// dependencies); compute is one server that takes the available block with the least deadline, where
/// deadline(p, q) = list position of the first send that needs row p or column q; ties go to the lower row,
/// then the lower column. Fills schedule.blocks. Requires a legal transfer list.
/// Complexity O(ab log(ab)). The model is in tile_schedule_simulation.h, the rules in tile_schedule_rules.h.
[[nodiscard]] ScheduleTimeline simulate(TileSchedule& schedule, const ScheduleCosts& costs);

/// The greedy rule alone: next the receive that unlocks most blocks per unit of time, then the sends.
[[nodiscard]] TileSchedule greedy_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs);

/// Greedy with roll-out: at each step every legal op is tried, its list completed by each of several
/// policies and simulated; the best list seen is kept, so the answer is never worse than any policy's. Where
/// at most a few thousand legal lists exist (flat shapes up to 16 ranks) all are tried: optimal there.
/// Complexity O(L^2) simulations for a list of L ops: cache the answer. Falls back to the best policy
/// alone when a + b > 64.
[[nodiscard]] TileSchedule plan_schedule(Pass pass, const MeshShape& shape, const ScheduleCosts& costs);

/// "Q1 K1 Q2 K2 O1 O2": rows Q (send O, or dQ), columns K (send dK).
[[nodiscard]] std::string to_string(const TileSchedule& schedule);

}  // namespace tessera::runtime
