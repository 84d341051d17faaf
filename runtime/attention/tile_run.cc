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
        rows_(program.schedule().shape.a(), program.staging(true)),
        columns_(program.schedule().shape.b(), program.staging(false)),
        flights_(program.transfers().size()) {
    for (const Block& block : program.blocks()) {
      ++rows_.blocks_left[index(block.row)];
      ++columns_.blocks_left[index(block.column)];
    }
  }

  void run() {
    for (std::size_t i = 0; i < flights_.size(); ++i) {
      if (!is_send(transfer(i).op.kind)) post_receives(i);
    }
    for (const Block& block : program_.blocks()) {
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
  struct Receive {
    Request request;
    int staging = kNoStaging;
  };
  /// One op, from the posting of its receives to its end.
  struct Flight {
    std::vector<Receive> receives;  // parallel to the transfer's
    std::vector<Request> sends;
    Nanoseconds posted{0};
    bool receives_posted = false;
    bool sends_posted = false;
    bool over = false;
  };
  /// Rows, or columns.
  struct Side {
    Side(int slots, int staging)
        : filled(index(slots), nullptr), blocks_left(index(slots), 0), added(index(slots), 0) {
      for (int i = staging - 1; i >= 0; --i) free_staging.push_back(i);
    }
    std::vector<Request*> filled;  // the receive that fills the slot; null: it is there, or never comes
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
    Request*& receive = side.filled[index(slot)];
    if (receive != nullptr && receive->done()) receive = nullptr;
    return receive == nullptr;
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

  void post_receives(std::size_t i) {
    const TileTransfer& t = transfer(i);
    Flight& flight = flights_[i];
    Side& own = side(t.op);
    flight.receives.resize(t.receives.size());  // at once: `filled` points into it
    for (std::size_t r = 0; r < t.receives.size(); ++r) {
      Receive& receive = flight.receives[r];
      const TileMessage& message = t.receives[r];
      if (is_send(t.op.kind)) {
        TS_REQUIRE(!own.free_staging.empty(), i, to_string(program_.schedule()));
        receive.staging = own.free_staging.back();
        own.free_staging.pop_back();
      } else {
        own.filled[index(message.slot)] = &receive.request;
      }
      receive.request = ring(t.op).irecv(work_.incoming(t.op.kind, message.slot, receive.staging),
                                         message.peer, t.tag, t.traffic);
    }
    flight.receives_posted = true;
  }

  [[nodiscard]] bool may_send(const TileTransfer& t) {
    for (const TileMessage& message : t.sends) {
      const bool ready = is_send(t.op.kind) ? complete(on_row_ring(t.op.kind), message.slot)
                                            : present(side(t.op), message.slot);
      if (!ready) return false;
    }
    return true;
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
    if (!flight.receives_posted) post_receives(i);
    if (!flight.sends_posted) {
      if (!may_send(t)) return false;
      flight.posted = meter_.clock->now();
      for (const TileMessage& message : t.sends) {
        flight.sends.push_back(
            ring(t.op).isend(work_.outgoing(t.op.kind, message.slot), message.peer, t.tag, t.traffic));
      }
      flight.sends_posted = true;
    }
    bool done = true;
    for (Receive& receive : flight.receives) done = receive.request.done() && done;
    for (Request& send : flight.sends) done = send.done() && done;
    if (!done) return false;
    flight.over = true;
    const bool row = on_row_ring(t.op.kind);
    if (!t.sends.empty() || !t.receives.empty()) {
      meter_.record(event_name(t.op.kind), row ? t.op.slot : 0, row ? 0 : t.op.slot, flight.posted,
                    &AttentionTimes::transfer_s);
    }
    if (is_send(t.op.kind)) {
      for (const TileMessage& message : t.receives) add_received(row, message.slot);
    }
    return true;
  }

  /// Adds the partials that are due to a slot, in their order.
  void add_received(bool row, int slot) {
    Side& side = row ? rows_ : columns_;
    if (side.blocks_left[index(slot)] > 0) return;
    const std::vector<TileArrival>& additions = program_.additions(row, slot);
    std::size_t& added = side.added[index(slot)];
    while (added < additions.size() && flights_[additions[added].transfer].over) {
      const Nanoseconds start = meter_.clock->now();
      const Receive& receive = flights_[additions[added].transfer].receives[additions[added].receive];
      work_.add(transfer(additions[added].transfer).op.kind, slot, receive.staging);
      side.free_staging.push_back(receive.staging);
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
      for (const Receive& receive : flight.receives) {
        if (receive.request.waits_for().value >= 0) return &receive.request;
      }
      for (const Request& send : flight.sends) found = &send;
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
