#include "runtime/attention/tile_schedule_rules.h"

#include "algos/base/require.h"
#include "runtime/attention/tile_assignment.h"

namespace tessera::runtime {

namespace {
constexpr std::array<Transfer, kTransferKinds> kAllKinds = {Transfer::kReceiveRow, Transfer::kReceiveColumn,
                                                            Transfer::kSendRow, Transfer::kSendColumn};
}

TransferRules::TransferRules(Pass pass, const MeshShape& shape) : pass_(pass), shape_(shape) {
  const auto fill = [](const RingShape& ring, std::vector<Slot>& slots) {
    const RingPath path(ring, 0);  // hops of every member differ by a rotation only
    slots.resize(static_cast<std::size_t>(ring.size()));
    for (int p = 1; p < ring.size(); ++p) {
      slots[static_cast<std::size_t>(p)] = {path.receive(p).outer, path.merged_before(p)};
    }
  };
  fill(shape.q, rows_);
  fill(shape.kv, columns_);
}

int TransferRules::count(Transfer kind) const {
  return kind == Transfer::kSendColumn && pass_ == Pass::kForward ? 0 : slots(kind) - 1;
}

int TransferRules::total() const {
  int sum = 0;
  for (const Transfer kind : kAllKinds) sum += count(kind);
  return sum;
}

const TransferRules::Slot& TransferRules::slot(const TransferOp& op) const {
  TS_REQUIRE(op.slot >= 1 && op.slot < slots(op.kind), op.slot, slots(op.kind));
  return (on_row_ring(op.kind) ? rows_ : columns_)[static_cast<std::size_t>(op.slot)];
}

bool TransferRules::crosses_outer(const TransferOp& op) const { return slot(op).outer; }
const std::vector<int>& TransferRules::merged_before(const TransferOp& op) const {
  return slot(op).merged_before;
}

double TransferRules::hop_time(const TransferOp& op, const ScheduleCosts& costs) const {
  double time = 0;
  switch (op.kind) {
    case Transfer::kReceiveRow: time = costs.receive_row; break;
    case Transfer::kReceiveColumn: time = costs.receive_column; break;
    case Transfer::kSendRow: time = costs.send_row; break;
    case Transfer::kSendColumn: time = costs.send_column; break;
  }
  return crosses_outer(op) ? time * costs.outer_factor : time;
}

TransferState::TransferState(const TransferRules& rules) : rules_(&rules) {
  for (const Transfer kind : kAllKinds) {
    done_[kind_index(kind)].assign(static_cast<std::size_t>(rules.slots(kind)), 0);
  }
}

bool TransferState::was_issued(const TransferOp& op) const {
  return done_[kind_index(op.kind)][static_cast<std::size_t>(op.slot)] != 0;
}

const char* TransferState::objection(const TransferOp& op) const {
  if (rules_->count(op.kind) == 0) return "no transfer of this kind exists in this pass and shape";
  if (op.slot < 1 || op.slot >= rules_->slots(op.kind)) return "no such slot";
  if (was_issued(op)) return "the transfer is listed twice";
  if (!is_send(op.kind)) {
    return op.slot == issued(op.kind) + 1 ? nullptr : "receives must come in slot order";
  }
  const bool row = op.kind == Transfer::kSendRow;
  const Transfer own = row ? Transfer::kReceiveRow : Transfer::kReceiveColumn;
  const Transfer other = row ? Transfer::kReceiveColumn : Transfer::kReceiveRow;
  if (!was_issued({own, op.slot})) return "a slot is sent before it was received";
  if (left(other) > 0) return "a slot is sent before all of its blocks can be computed";
  for (const int earlier : rules_->merged_before(op)) {
    if (!was_issued({op.kind, earlier})) return "a slot is sent before the partials merging into it came in";
  }
  return nullptr;
}

void TransferState::issue(const TransferOp& op) {
  done_[kind_index(op.kind)][static_cast<std::size_t>(op.slot)] = 1;
  ++issued_[kind_index(op.kind)];
  ++total_issued_;
}

std::vector<TransferOp> TransferState::legal_ops() const {
  std::vector<TransferOp> ops;
  for (const Transfer kind : kAllKinds) {
    if (left(kind) == 0) continue;
    if (!is_send(kind)) {
      ops.push_back({kind, issued(kind) + 1});
      continue;
    }
    for (int k = 1; k < rules_->slots(kind); ++k) {
      if (objection({kind, k}) == nullptr) ops.push_back({kind, k});
    }
  }
  return ops;
}

}  // namespace tessera::runtime
