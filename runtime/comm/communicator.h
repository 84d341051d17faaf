/// Communicator: what ranks say to each other. Every wait has a deadline; every byte is counted.
///
/// Implementations give point-to-point messages (local_comm.h: ranks as threads; mpi_comm.h: processes).
/// Collectives are written once, over those messages (collectives.h), so both implementations move and
/// count the same bytes and add in the same order: results repeat bit for bit on the same layout.
///
/// Failure. A rank that fails calls abort(); a wait that passes its deadline, or sees that another rank
/// has aborted, throws CommError naming the operation, the peer and the reason. No wait outlives its
/// deadline, so no rank hangs because another failed.
///
/// Progress. Collectives advance only inside calls: every wait advances all collectives in flight on the
/// communicator and its relatives by split, and poll() does so from a computation that wants overlap.
///
/// Threads. One thread at a time uses a Communicator and those split from it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/index.h"
#include "runtime/comm/scratch_pool.h"

namespace tessera::runtime {

/// Why bytes move. Counters are kept per kind, so that a report can hold each against its formula.
enum class Traffic : std::uint8_t {
  kQuery,         // Q in the forward pass; the bundle Q, dO, lse, delta in the backward pass
  kKeyValue,      // K and V, both passes
  kPartialOut,    // partial O with its lse, reduced back
  kQueryGrad,     // dQ, reduced back
  kKeyValueGrad,  // dK and dV, reduced back
  kHeadExchange,  // all-to-all of the head-parallel layout
  kTensor,        // gathers and reductions between tensor-parallel ranks
  kPipeline,      // activations and their gradients between stages
  kGradient,      // gradient reduce-scatter or all-reduce
  kParameter,     // parameter all-gather
  kControl,       // everything small: losses, norms, verdicts
  kRecovery,      // state between nodes: copies of snapshots, restores
  kCount,
};
[[nodiscard]] std::string_view traffic_name(Traffic traffic);

struct TrafficCount {
  std::int64_t bytes_sent = 0;
  std::int64_t bytes_received = 0;
  std::int64_t messages_sent = 0;
  std::int64_t messages_received = 0;
};

/// Counts of one communicator and all that were split from it. Peers are ranks of the root communicator.
class TrafficTable {
 public:
  explicit TrafficTable(int peers);
  void sent(Rank peer, Traffic traffic, std::int64_t bytes);
  void received(Rank peer, Traffic traffic, std::int64_t bytes);
  [[nodiscard]] TrafficCount by_kind(Traffic traffic) const;
  [[nodiscard]] TrafficCount by_peer(Rank peer) const;
  [[nodiscard]] TrafficCount at(Rank peer, Traffic traffic) const;
  [[nodiscard]] TrafficCount total() const;
  void reset();

 private:
  int peers_;
  std::vector<TrafficCount> counts_;  // [peer][kind]
};

/// A communication failure: deadline passed, peer gone, library error, or another rank's abort.
class CommError : public std::runtime_error {
 public:
  enum class Cause : std::uint8_t { kDeadline, kAborted, kLibrary };
  CommError(Cause cause, const std::string& what) : std::runtime_error(what), cause_(cause) {}
  [[nodiscard]] Cause cause() const { return cause_; }

 private:
  Cause cause_;
};

/// One outstanding operation. Move-only; the buffers and the communicator it was given must live until it
/// is done. Destroying an unfinished Request is legal only when unwinding from a CommError: over threads the
/// message is withdrawn, over MPI it may still be written, so that the process must then end.
class Request {
 public:
  /// What an implementation provides: progress() returns true once, and for ever after, when done.
  class Operation {
   public:
    virtual ~Operation() = default;
    virtual bool progress() = 0;                             // never blocks; throws CommError
    [[nodiscard]] virtual std::string describe() const = 0;  // "receive of 4096 bytes from rank 3, tag 7"
    /// Root rank whose action completes it, or Rank(-1) where no single one does.
    [[nodiscard]] virtual Rank waits_for() const = 0;
  };

  Request() = default;  // already done
  explicit Request(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {}
  [[nodiscard]] bool done() { return operation_ == nullptr || advance(); }
  [[nodiscard]] std::string describe() const {
    return operation_ ? operation_->describe() : "finished operation";
  }
  [[nodiscard]] Rank waits_for() const { return operation_ ? operation_->waits_for() : Rank(-1); }

 private:
  bool advance() {
    if (!operation_->progress()) return false;
    operation_.reset();
    return true;
  }
  std::unique_ptr<Operation> operation_;
};

/// Longest wait unless set_deadline says otherwise: above the slowest step, below a person's patience.
inline constexpr std::chrono::milliseconds kDefaultDeadline = std::chrono::minutes(10);

/// Tags below are the callers', tags from here to twice this number are the collectives'.
inline constexpr int kFirstCollectiveTag = 1 << 20;

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] Rank rank() const { return rank_; }
  [[nodiscard]] int size() const { return static_cast<int>(members_.size()); }
  /// Rank in the communicator this one was (transitively) split from: the peer index of traffic().
  [[nodiscard]] Rank root_rank(Rank rank) const;

  /// Messages between a pair with the same tag arrive in the order sent; sizes must match exactly (a
  /// shorter or longer message than the receive throws kLibrary). Tags: 0 <= tag < 1 << 20; the
  /// collectives use tags above. A rank may send to itself. Zero bytes is a message. A send may stay
  /// unfinished until its receive is posted: post the receive before waiting for the send.
  [[nodiscard]] virtual Request isend(std::span<const std::byte> data, Rank to, int tag, Traffic traffic) = 0;
  [[nodiscard]] virtual Request irecv(std::span<std::byte> data, Rank from, int tag, Traffic traffic) = 0;

  /// Ranks with equal color (>= 0) form a communicator, ordered by (key, rank). Collective. The new one
  /// shares traffic counters and abort state with this one and starts with its deadline. Counts no traffic.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// Makes every other rank's next or current wait throw CommError(kAborted) with this reason, in bounded
  /// time. Over MPI the process group ends (MPI_Abort) after the reason was printed once.
  virtual void abort(const std::string& reason) = 0;

  [[nodiscard]] virtual TrafficTable& traffic() = 0;

  /// Longest that one wait may take; applies to this communicator and those split from it later.
  void set_deadline(std::chrono::milliseconds deadline) { deadline_ = deadline; }
  [[nodiscard]] std::chrono::milliseconds deadline() const { return deadline_; }

  /// A waiting rank keeps its processor instead of giving it away; applies to this communicator and those
  /// split from it later. For ranks that own their cores; and where several share one, for constant shares: a
  /// rank that waits then lends its share to no other.
  void set_busy_wait(bool busy) { busy_wait_ = busy; }
  [[nodiscard]] bool busy_wait() const { return busy_wait_; }
  /// Processor time of this thread in the waits of this communicator and its relatives by split, seconds.
  [[nodiscard]] double waiting_processor_s() const { return shared_->waiting_processor_s; }
  /// Time that went by in those waits, seconds.
  [[nodiscard]] double waiting_s() const { return shared_->waiting_s; }

  /// Blocks until done, giving the processor away while nothing moves, unless busy_wait(). Throws CommError.
  void wait(Request& request);
  /// One wait for all of them: they advance together, in any order.
  void wait_all(std::span<Request> requests);
  /// Advances the collectives in flight once, without blocking.
  void poll();

  /// For collectives.cc. Equal on every rank that starts the same collectives in the same order.
  [[nodiscard]] int next_collective_tag();
  /// Buffers that outlive one collective, so that the steady state allocates and first-touches nothing.
  [[nodiscard]] const std::shared_ptr<ScratchPool>& scratch() const { return shared_->scratch; }
  /// The collectives that poll() advances; each enters and leaves by itself.
  using InFlight = std::shared_ptr<std::vector<Request::Operation*>>;
  [[nodiscard]] const InFlight& in_flight() const { return shared_->in_flight; }

 protected:
  Communicator() : shared_(std::make_shared<Shared>()) {}
  /// A child by split.
  explicit Communicator(const Communicator* parent)
      : deadline_(parent->deadline_), busy_wait_(parent->busy_wait_), shared_(parent->shared_) {}
  /// Once, by the constructor: the root rank of each rank, and which of them this one is.
  void set_members(std::vector<Rank> members, Rank mine) {
    members_ = std::move(members);
    rank_ = mine;
  }
  [[nodiscard]] const std::vector<Rank>& members() const { return members_; }
  /// 0, 1, … n - 1: the members of a root communicator.
  [[nodiscard]] static std::vector<Rank> first_ranks(int n);

  /// Called between polls of a wait: gives the processor away, unless busy_wait(). `idle` counts the polls of
  /// this wait, `pending` is what it still lacks.
  virtual void relax(int idle, const Request& pending) = 0;
  /// Throws CommError(kAborted) if a rank has aborted.
  virtual void throw_if_aborted() const {}
  /// Called when a wait for root rank `peer` has passed its deadline. Follows who waits for whom to the rank
  /// that holds the others up and returns a sentence naming it, within a quarter of the deadline.
  [[nodiscard]] virtual std::string blame(Rank peer) = 0;

 private:
  struct Shared {
    std::shared_ptr<ScratchPool> scratch = std::make_shared<ScratchPool>();
    InFlight in_flight = std::make_shared<std::vector<Request::Operation*>>();
    double waiting_processor_s = 0;
    double waiting_s = 0;
  };
  std::vector<Rank> members_;
  Rank rank_;
  std::chrono::milliseconds deadline_ = kDefaultDeadline;
  bool busy_wait_ = false;
  std::shared_ptr<Shared> shared_;
  int collectives_started_ = 0;
};

/// Views of typed arrays as bytes.
template <class T>
std::span<const std::byte> as_bytes(const T* data, std::int64_t count) {
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(count) * sizeof(T)};
}
template <class T>
std::span<std::byte> as_writable_bytes(T* data, std::int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<std::size_t>(count) * sizeof(T)};
}

}  // namespace tessera::runtime
