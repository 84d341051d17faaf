#include "runtime/attention/tile_run.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algos/base/require.h"
#include "runtime/attention/tile_schedule_rules.h"

namespace tessera::runtime {
namespace {

constexpr int kNoStaging = -1;

std::size_t index(int i) { return static_cast<std::size_t>(i); }

const char* event_name(Transfer kind) {
  switch (kind) {
    case Transfer::kReceiveRow: return "receive_row";
    case Transfer::kReceiveColumn: return "receive_column";
    case Transfer::kSendRow: return "send_row";
    case Transfer::kSendColumn: return "send_column";
  }
  return "";
}

class TileRun {
 public:
  TileRun(const TileProgram& program, TileWork& work, const TileRings& rings, const TileMeter& meter)
      : program_(program),
        work_(work),
        rings_(rings),
        meter_(meter),
        rows_(Side{program.schedule().shape.a(), program.schedule().shape.b(), program.staging(true)}),
        columns_(Side{program.schedule().shape.b(), program.schedule().shape.a(), program.staging(false)}),
        flights_(program.transfers().size()) {}

  void run() {
    for (std::size_t i = 0; i < flights_.size(); ++i) {
      if (!is_send(transfer(i).op.kind)) post_receive(i);
    }
    for (const Block& block : program_.schedule().blocks) {
      advance();
      if (!present(block)) {
        wait_until([&] { return present(block); });
      }
      compute(block);
    }
    advance();
    if (!finished()) {
      wait_until([&] { return finished(); });
    }
  }

 private:
  /// One transfer, from the posting of its receive to its end.
  struct Flight {
    Request receive;
    Request send;
    Nanoseconds posted{0};
    bool receive_posted = false;
    bool send_posted = false;
    bool over = false;
    int staging = kNoStaging;
  };
  /// Rows, or columns.
  struct Side {
    Side(int slots, int blocks, int staging)
        : filled(index(slots), nullptr), blocks_left(index(slots), blocks), added(index(slots), 0) {
      for (int i = staging - 1; i >= 0; --i) free_staging.push_back(i);
    }
    std::vector<Flight*> filled;  // the receive that fills the slot; null: it is there
    std::vector<int> blocks_left;
    std::vector<std::size_t> added;  // partials added so far
    std::vector<int> free_staging;
  };
  /// Done when `until` holds; its progress is the progress of all lanes.
  class Stall final : public Request::Operation {
   public:
    Stall(TileRun& run, std::function<bool()> until) : run_(run), until_(std::move(until)) {}
    bool progress() override {
      run_.advance();
      return until_();
    }
    [[nodiscard]] std::string describe() const override {
      const Request* const request = run_.pending();
      return request == nullptr ? "attention: nothing in flight" : "attention: " + request->describe();
    }
    [[nodiscard]] Rank waits_for() const override {
      const Request* const request = run_.pending();
      return request == nullptr ? Rank(-1) : request->waits_for();
    }

   private:
    TileRun& run_;
    std::function<bool()> until_;
  };

  [[nodiscard]] const TileTransfer& transfer(std::size_t i) const { return program_.transfers()[i]; }
  [[nodiscard]] Side& side(const TransferOp& op) { return on_row_ring(op.kind) ? rows_ : columns_; }
  [[nodiscard]] Communicator& ring(const TransferOp& op) {
    return on_row_ring(op.kind) ? *rings_.q : *rings_.kv;
  }

  /// True once the chunk is there; a chunk that came before its lane's turn counts.
  static bool present(Side& side, int slot) {
    Flight*& flight = side.filled[index(slot)];
    if (flight != nullptr && flight->receive.done()) flight = nullptr;
    return flight == nullptr;
  }
  [[nodiscard]] bool present(const Block& block) {
    const bool row = present(rows_, block.row);
    return present(columns_, block.column) && row;
  }

  /// Own blocks done and every partial added.
  [[nodiscard]] bool complete(bool row, int slot) {
    const Side& side = row ? rows_ : columns_;
    return side.blocks_left[index(slot)] == 0 &&
           side.added[index(slot)] == program_.additions(row, slot).size();
  }
  [[nodiscard]] bool finished() {
    for (std::size_t lane = 0; lane < 2; ++lane) {
      if (next_[lane] < program_.lanes()[lane].size()) return false;
    }
    return complete(true, 0) && complete(false, 0);
  }

  void post_receive(std::size_t i) {
    const TileTransfer& t = transfer(i);
    Flight& flight = flights_[i];
    if (is_send(t.op.kind)) {
      auto& free = side(t.op).free_staging;
      TS_REQUIRE(!free.empty(), i, to_string(program_.schedule()));
      flight.staging = free.back();
      free.pop_back();
    } else {
      side(t.op).filled[index(t.received_slot)] = &flight;
    }
    flight.receive = ring(t.op).irecv(work_.incoming(t, flight.staging), t.from, t.tag, t.traffic);
    flight.receive_posted = true;
  }

  [[nodiscard]] bool may_send(const TileTransfer& t) {
    if (is_send(t.op.kind)) return complete(on_row_ring(t.op.kind), t.sent_slot);
    return present(side(t.op), t.sent_slot);
  }

  /// Posts what may be posted, takes in what has come.
  void advance() {
    for (std::size_t lane = 0; lane < 2; ++lane) {
      const std::vector<std::size_t>& ops = program_.lanes()[lane];
      while (next_[lane] < ops.size() && advance_op(ops[next_[lane]])) ++next_[lane];
    }
  }

  /// True when the op is over.
  bool advance_op(std::size_t i) {
    const TileTransfer& t = transfer(i);
    Flight& flight = flights_[i];
    if (!flight.receive_posted) post_receive(i);
    if (!flight.send_posted) {
      if (!may_send(t)) return false;
      flight.posted = meter_.clock->now();
      flight.send = ring(t.op).isend(work_.outgoing(t), t.to, t.tag, t.traffic);
      flight.send_posted = true;
    }
    const bool received = flight.receive.done();
    if (!flight.send.done() || !received) return false;
    flight.over = true;
    const bool row = on_row_ring(t.op.kind);
    meter_.record(event_name(t.op.kind), row ? t.op.slot : 0, row ? 0 : t.op.slot, flight.posted,
                  &AttentionTimes::transfer_s);
    if (is_send(t.op.kind)) add_received(row, t.received_slot);
    return true;
  }

  /// Adds the partials that are due to a slot, in their order.
  void add_received(bool row, int slot) {
    Side& side = row ? rows_ : columns_;
    if (side.blocks_left[index(slot)] > 0) return;
    const std::vector<std::size_t>& additions = program_.additions(row, slot);
    std::size_t& added = side.added[index(slot)];
    while (added < additions.size() && flights_[additions[added]].over) {
      const Nanoseconds start = meter_.clock->now();
      Flight& flight = flights_[additions[added]];
      work_.add(transfer(additions[added]), flight.staging);
      side.free_staging.push_back(flight.staging);
      ++added;
      meter_.record("add", row ? slot : 0, row ? 0 : slot, start, &AttentionTimes::compute_s);
    }
  }

  void compute(const Block& block) {
    const Nanoseconds begin = meter_.clock->now();
    Nanoseconds start = begin;
    const int slices = work_.slices(block);
    for (int slice = 0; slice < slices; ++slice) {
      if (slice > 0) {
        advance();
        rings_.comm->poll();
        start = meter_.clock->now();
      }
      work_.compute(block, slice);
      meter_.times->compute_s += seconds(meter_.clock->now() - start);
    }
    meter_.record("block", block.row, block.column, begin, nullptr);
    rings_.comm->poll();
    if (--rows_.blocks_left[index(block.row)] == 0) add_received(true, block.row);
    if (--columns_.blocks_left[index(block.column)] == 0) add_received(false, block.column);
  }

  void wait_until(std::function<bool()> until) {
    const Nanoseconds start = meter_.clock->now();
    const double compute_before = meter_.times->compute_s;
    Request stall(std::make_unique<Stall>(*this, std::move(until)));
    rings_.comm->wait(stall);
    const double adding = meter_.times->compute_s - compute_before;
    meter_.record("wait", 0, 0, start, &AttentionTimes::exposed_wait_s);
    meter_.times->exposed_wait_s -= adding;
  }

  /// A message that holds the run up, for error texts.
  [[nodiscard]] const Request* pending() const {
    const Request* found = nullptr;
    for (std::size_t lane = 0; lane < 2; ++lane) {
      if (next_[lane] >= program_.lanes()[lane].size()) continue;
      const Flight& flight = flights_[program_.lanes()[lane][next_[lane]]];
      if (flight.receive_posted && flight.receive.waits_for().value >= 0) return &flight.receive;
      if (flight.send_posted) found = &flight.send;
    }
    return found;
  }

  const TileProgram& program_;
  TileWork& work_;
  TileRings rings_;
  TileMeter meter_;
  Side rows_;
  Side columns_;
  std::vector<Flight> flights_;  // parallel to the program's transfers
  std::array<std::size_t, 2> next_{};
};

}  // namespace

Nanoseconds TileMeter::record(const char* kind, int row, int column, Nanoseconds start,
                              double AttentionTimes::*sum) const {
  const Nanoseconds end = clock->now();
  if (sum != nullptr) times->*sum += seconds(end - start);
  if (*observer) (*observer)({kind, row, column, start, end});
  return end;
}

void run_tile(const TileProgram& program, TileWork& work, const TileRings& rings, const TileMeter& meter) {
  TileRun(program, work, rings, meter).run();
}

}  // namespace tessera::runtime
