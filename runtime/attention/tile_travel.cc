#include "runtime/attention/tile_travel.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/ring_messages.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {
namespace {

std::size_t index(int i) { return static_cast<std::size_t>(i); }

/// The rows, or the columns, of every super-rank's tile.
struct Slots {
  Slots(int ranks, int slots)
      : held(index(ranks), std::vector<char>(index(slots), 0)),
        shipped(held),
        blocks_left(index(ranks), std::vector<int>(index(slots), 0)),
        sum(index(ranks), std::vector<std::vector<char>>(index(slots))) {
    for (auto& rank : held) rank[0] = 1;
  }
  std::vector<std::vector<char>> held;        // [rank][slot]: the chunk is there
  std::vector<std::vector<char>> shipped;     // its partial has left
  std::vector<std::vector<int>> blocks_left;  // blocks that see something, not computed yet
  /// Members of the ring that contributed to the partial; empty: none yet.
  std::vector<std::vector<std::vector<char>>> sum;
};

class Travel {
 public:
  Travel(const TileSchedule& schedule, const ChunkMask& mask)
      : schedule_(schedule),
        mask_(mask),
        assignment_(schedule.shape),
        rows_(schedule.shape.super_ranks(), schedule.shape.a()),
        columns_(schedule.shape.super_ranks(), schedule.shape.b()),
        next_block_(index(schedule.shape.super_ranks()), 0) {
    for (int g = 0; g < ranks(); ++g) {
      for (const Block& block : schedule.blocks) {
        if (!sees(g, block)) continue;
        ++rows_.blocks_left[index(g)][index(block.row)];
        ++columns_.blocks_left[index(g)][index(block.column)];
      }
    }
    for (const bool rows : {true, false}) {
      const int rings = rows ? schedule.shape.b() : schedule.shape.a();
      for (int ring = 0; ring < rings; ++ring) {
        const RingUse use = ring_use(schedule.shape, mask, rows, ring);
        for (const RingMessage& message : ring_messages(use)) {
          messages_[rows ? 0 : 1].push_back({ring, message});
        }
      }
    }
  }

  Status run() {
    for (const TransferOp& op : schedule_.transfers) {
      for (const Routed& routed : messages_[on_row_ring(op.kind) ? 0 : 1]) {
        if (routed.message.back == is_send(op.kind) && routed.message.op_slot == op.slot) {
          TS_TRY(routed.message.back ? ship(op, routed) : bring(op, routed));
        }
      }
      // What comes by an op is there when the op is over, not while it runs.
      for (auto& [slots, rank, slot] : arrived_) slots->held[index(rank)][index(slot)] = 1;
      arrived_.clear();
    }
    for (int g = 0; g < ranks(); ++g) TS_TRY(compute_until(g, [] { return false; }));
    TS_TRY(check_home(true));
    return schedule_.pass == Pass::kForward ? Status() : check_home(false);
  }

 private:
  struct Routed {
    int ring = 0;
    RingMessage message;
  };
  struct Arrived {
    Slots* slots;
    int rank;
    int slot;
  };

  [[nodiscard]] int ranks() const { return schedule_.shape.super_ranks(); }
  [[nodiscard]] int member(bool rows, int ring, int at) const {
    return rows ? ring * schedule_.shape.a() + at : at * schedule_.shape.a() + ring;
  }
  [[nodiscard]] bool sees(int rank, const Block& block) const {
    return mask_.sees(assignment_.row_chunk(rank, Row(block.row)),
                      assignment_.column_chunk(rank, Column(block.column)));
  }
  /// Ring index of the owner of what `rank` holds in a slot.
  [[nodiscard]] int owner(bool rows, int rank, int slot) const {
    return RingPath(rows ? schedule_.shape.q : schedule_.shape.kv,
                    rows ? assignment_.q_index(rank) : assignment_.kv_index(rank))
        .owner(slot);
  }
  Status wrong(const TransferOp& op, int rank, const char* what) const {
    return {Code::kInvalidArgument,
            fmt::format("{}, slot {} of transfer kind {}, super-rank {}: {}", to_string(schedule_.shape),
                        op.slot, kind_index(op.kind), rank, what)};
  }

  Status bring(const TransferOp& op, const Routed& routed) {
    const bool rows = on_row_ring(op.kind);
    Slots& slots = rows ? rows_ : columns_;
    const RingMessage& m = routed.message;
    const int from = member(rows, routed.ring, m.from);
    const int to = member(rows, routed.ring, m.to);
    if (owner(rows, from, m.from_slot) != m.owner || owner(rows, to, m.to_slot) != m.owner) {
      return wrong(op, to, "the slot is another chunk's");
    }
    if (slots.held[index(from)][index(m.from_slot)] == 0)
      return wrong(op, from, "sends what it does not hold");
    if (slots.held[index(to)][index(m.to_slot)] != 0) return wrong(op, to, "receives what it holds");
    arrived_.push_back({&slots, to, m.to_slot});
    return {};
  }

  Status ship(const TransferOp& op, const Routed& routed) {
    const bool rows = on_row_ring(op.kind);
    Slots& slots = rows ? rows_ : columns_;
    const RingMessage& m = routed.message;
    const int from = member(rows, routed.ring, m.from);
    const int to = member(rows, routed.ring, m.to);
    if (owner(rows, from, m.from_slot) != m.owner || owner(rows, to, m.to_slot) != m.owner) {
      return wrong(op, to, "the slot is another chunk's");
    }
    TS_TRY(compute_until(from, [&] { return slots.blocks_left[index(from)][index(m.from_slot)] == 0; }));
    auto& shipped = slots.shipped[index(from)][index(m.from_slot)];
    if (shipped != 0) return wrong(op, from, "ships a partial twice");
    if (slots.shipped[index(to)][index(m.to_slot)] != 0) return wrong(op, to, "adds to what has left");
    shipped = 1;
    const std::vector<char>& sum = slots.sum[index(from)][index(m.from_slot)];
    if (sum.empty()) return wrong(op, from, "ships a partial to which nobody contributed");
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (sum[i] != 0 && !contribute(slots, to, m.to_slot, i)) return wrong(op, to, "adds something twice");
    }
    return {};
  }

  /// False if it was there.
  static bool contribute(Slots& slots, int rank, int slot, std::size_t contributor) {
    std::vector<char>& sum = slots.sum[index(rank)][index(slot)];
    if (sum.size() <= contributor) sum.resize(contributor + 1, 0);
    return std::exchange(sum[contributor], 1) == 0;
  }

  /// Computes blocks in order until `done`, or all.
  template <class Done>
  Status compute_until(int rank, const Done& done) {
    std::size_t& next = next_block_[index(rank)];
    for (; next < schedule_.blocks.size() && !done(); ++next) {
      const Block& block = schedule_.blocks[next];
      if (!sees(rank, block)) continue;
      if (rows_.held[index(rank)][index(block.row)] == 0 ||
          columns_.held[index(rank)][index(block.column)] == 0) {
        return {Code::kInvalidArgument,
                fmt::format("{}: block ({}, {}) of super-rank {} lacks its row or column",
                            to_string(schedule_.shape), block.row, block.column, rank)};
      }
      --rows_.blocks_left[index(rank)][index(block.row)];
      --columns_.blocks_left[index(rank)][index(block.column)];
      contribute(rows_, rank, block.row, index(assignment_.q_index(rank)));
      contribute(columns_, rank, block.column, index(assignment_.kv_index(rank)));
    }
    return {};
  }

  /// Every owner has the contributions of all members that see something of its chunk, and no other.
  Status check_home(bool rows) {
    const Slots& slots = rows ? rows_ : columns_;
    for (int home = 0; home < ranks(); ++home) {
      const int ring = rows ? assignment_.kv_index(home) : assignment_.q_index(home);
      const int self = rows ? assignment_.q_index(home) : assignment_.kv_index(home);
      const RingUse use = ring_use(schedule_.shape, mask_, rows, ring);
      std::vector<char> expected(index(use.shape().size()), 0);
      for (int p = 0; p < use.shape().size(); ++p) {
        if (use.used(self, p)) expected[index(ring_holder(use.shape(), self, p))] = 1;
      }
      std::vector<char> found = slots.sum[index(home)][0];
      found.resize(expected.size(), 0);
      if (found != expected) {
        return {Code::kInvalidArgument,
                fmt::format("{}: the {} of super-rank {} lacks a contribution or has one "
                            "that nobody made",
                            to_string(schedule_.shape), rows ? "row" : "column", home)};
      }
    }
    return {};
  }

  const TileSchedule& schedule_;
  const ChunkMask& mask_;
  TileAssignment assignment_;
  Slots rows_;
  Slots columns_;
  std::vector<std::size_t> next_block_;
  std::vector<Routed> messages_[2];  // of row rings, of column rings
  std::vector<Arrived> arrived_;
};

}  // namespace

Status check_travel(const TileSchedule& schedule, const ChunkMask& mask) {
  TS_TRY(check_schedule(schedule));
  TS_REQUIRE(mask.chunks() == schedule.shape.super_ranks(), mask.chunks(), schedule.shape.super_ranks());
  return Travel(schedule, mask).run();
}

ScheduleTimeline simulate_rank(const TileSchedule& schedule, const ScheduleCosts& costs,
                               const ChunkMask& mask, int super_rank) {
  const TransferRules rules(schedule.pass, schedule.shape);
  const TileAssignment assignment(schedule.shape);
  const int self[2] = {assignment.q_index(super_rank), assignment.kv_index(super_rank)};
  const int ring[2] = {self[1], self[0]};
  const int slots[2] = {schedule.shape.a(), schedule.shape.b()};

  // Messages of this rank in each op, by side, direction and slot.
  struct Count {
    int sent = 0;
    int received = 0;
  };
  std::vector<Count> counts[2][2];
  for (const int side : {0, 1}) {
    for (auto& direction : counts[side]) direction.resize(index(slots[side]));
    for (const RingMessage& m :
         ring_messages(ring_use(schedule.shape, mask, side == 0, ring[side]), self[side])) {
      Count& count = counts[side][m.back ? 1 : 0][index(m.op_slot)];
      count.sent += m.from == self[side] ? 1 : 0;
      count.received += m.to == self[side] ? 1 : 0;
    }
  }

  std::vector<int> left[2] = {std::vector<int>(index(slots[0]), 0), std::vector<int>(index(slots[1]), 0)};
  const auto sees = [&](const Block& block) {
    return mask.sees(assignment.row_chunk(super_rank, Row(block.row)),
                     assignment.column_chunk(super_rank, Column(block.column)));
  };
  std::size_t work = 0;
  for (const Block& block : schedule.blocks) {
    if (!sees(block)) continue;
    ++work;
    ++left[0][index(block.row)];
    ++left[1][index(block.column)];
  }
  constexpr double kUnknown = -1;
  std::vector<double> here[2] = {std::vector<double>(index(slots[0]), kUnknown),
                                 std::vector<double>(index(slots[1]), kUnknown)};
  here[0][0] = here[1][0] = 0;
  std::vector<double> done[2] = {std::vector<double>(index(slots[0]), 0),
                                 std::vector<double>(index(slots[1]), 0)};
  std::vector<std::size_t> lanes[2];
  for (std::size_t i = 0; i < schedule.transfers.size(); ++i) {
    lanes[costs.two_lanes && !on_row_ring(schedule.transfers[i].kind) ? 1 : 0].push_back(i);
  }

  ScheduleTimeline timeline;
  timeline.transfers.resize(schedule.transfers.size());
  double lane_free[2] = {0, 0};
  std::size_t lane_next[2] = {0, 0};
  const auto advance = [&](std::size_t lane) {
    for (; lane_next[lane] < lanes[lane].size(); ++lane_next[lane]) {
      const std::size_t position = lanes[lane][lane_next[lane]];
      const TransferOp& op = schedule.transfers[position];
      const std::size_t side = on_row_ring(op.kind) ? 0 : 1;
      const Count& count = counts[side][is_send(op.kind) ? 1 : 0][index(op.slot)];
      double start = lane_free[lane];
      if (is_send(op.kind) && count.sent > 0) {
        if (left[side][index(op.slot)] > 0) return;
        start = std::max(start, done[side][index(op.slot)]);
      }
      const double end = start + std::max(count.sent, count.received) * rules.hop_time(op, costs);
      timeline.transfers[position] = {start, end};
      lane_free[lane] = end;
      if (!is_send(op.kind)) here[side][index(op.slot)] = end;
    }
  };
  double now = 0;
  for (const Block& block : schedule.blocks) {
    if (!sees(block)) {
      timeline.blocks.push_back({now, now});
      continue;
    }
    for (const std::size_t lane : {0U, 1U}) advance(lane);
    const double row = here[0][index(block.row)];
    const double column = here[1][index(block.column)];
    TS_REQUIRE(row != kUnknown && column != kUnknown, block.row, block.column, to_string(schedule));
    const double start = std::max({now, row, column});
    now = start + costs.block;
    timeline.blocks.push_back({start, now});
    --left[0][index(block.row)];
    --left[1][index(block.column)];
    done[0][index(block.row)] = done[1][index(block.column)] = now;
  }
  for (const std::size_t lane : {0U, 1U}) advance(lane);
  TS_REQUIRE(lane_next[0] + lane_next[1] == schedule.transfers.size(), lane_next[0], lane_next[1]);
  timeline.makespan = std::max({now, lane_free[0], lane_free[1]});
  timeline.compute_idle = timeline.makespan - static_cast<double>(work) * costs.block;
  return timeline;
}

}  // namespace tessera::runtime
