/// Which transfers a pass over a shape has, what each waits for, and which may be issued next.
/// Shared by check_schedule, the simulator and the planner; the rules themselves are those of
/// tile_schedule.h, read off RingPath, so flat and hierarchical rings take the same path.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/tile_schedule.h"

namespace tessera::runtime {

constexpr int kTransferKinds = 4;

[[nodiscard]] constexpr std::size_t kind_index(Transfer kind) { return static_cast<std::size_t>(kind); }
[[nodiscard]] constexpr bool is_send(Transfer kind) {
  return kind == Transfer::kSendRow || kind == Transfer::kSendColumn;
}
[[nodiscard]] constexpr bool on_row_ring(Transfer kind) {
  return kind == Transfer::kReceiveRow || kind == Transfer::kSendRow;
}

class TransferRules {
 public:
  TransferRules(Pass pass, const MeshShape& shape);

  [[nodiscard]] const MeshShape& shape() const { return shape_; }
  /// Slots of the ring that `kind` moves: a for rows, b for columns.
  [[nodiscard]] int slots(Transfer kind) const { return on_row_ring(kind) ? shape_.a() : shape_.b(); }
  /// Transfers of `kind` in the list: slots - 1, or 0 when the pass has none of this kind.
  [[nodiscard]] int count(Transfer kind) const;
  [[nodiscard]] int total() const;

  [[nodiscard]] bool crosses_outer(const TransferOp& op) const;
  /// For a send: the slots whose partials must have come in before (never slot 0).
  [[nodiscard]] const std::vector<int>& merged_before(const TransferOp& op) const;
  [[nodiscard]] double hop_time(const TransferOp& op, const ScheduleCosts& costs) const;

 private:
  struct Slot {
    bool outer = false;
    std::vector<int> merged_before;
  };
  [[nodiscard]] const Slot& slot(const TransferOp& op) const;

  Pass pass_;
  MeshShape shape_;
  std::vector<Slot> rows_;
  std::vector<Slot> columns_;
};

/// What has been issued so far.
class TransferState {
 public:
  explicit TransferState(const TransferRules& rules);

  [[nodiscard]] int issued(Transfer kind) const { return issued_[kind_index(kind)]; }
  [[nodiscard]] int left(Transfer kind) const { return rules_->count(kind) - issued(kind); }
  [[nodiscard]] bool done() const { return total_issued_ == rules_->total(); }
  [[nodiscard]] bool was_issued(const TransferOp& op) const;

  /// nullptr when `op` may be issued next, else the rule it breaks.
  [[nodiscard]] const char* objection(const TransferOp& op) const;
  void issue(const TransferOp& op);
  /// Every op that may be issued next.
  [[nodiscard]] std::vector<TransferOp> legal_ops() const;

 private:
  const TransferRules* rules_;
  std::array<std::vector<char>, kTransferKinds> done_;  // by kind and slot
  std::array<int, kTransferKinds> issued_{};
  int total_issued_ = 0;
};

}  // namespace tessera::runtime
