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
/// Threads. One thread uses a Communicator at a time.
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

namespace tessera::runtime {

/// Why bytes move. Counters are kept per kind, so that a report can hold each against its formula.
enum class Traffic : std::uint8_t {
  kQuery,         // Q in the forward pass; the bundle Q, dO, lse, delta in the backward pass
  kKeyValue,      // K and V, both passes
  kPartialOut,    // partial O with its lse, reduced back
  kQueryGrad,     // dQ, reduced back
  kKeyValueGrad,  // dK and dV, reduced back
  kHeadExchange,  // all-to-all of the head-parallel layout
  kGradient,      // gradient reduce-scatter or all-reduce
  kParameter,     // parameter all-gather
  kControl,       // everything small: losses, norms, verdicts
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

/// One outstanding operation. Move-only; the buffers it was given must live until it is done.
/// Destroying an unfinished Request is legal only when unwinding from a CommError.
class Request {
 public:
  /// What an implementation provides: progress() returns true once, and for ever after, when done.
  class Operation {
   public:
    virtual ~Operation() = default;
    virtual bool progress() = 0;                             // never blocks; throws CommError
    [[nodiscard]] virtual std::string describe() const = 0;  // "receive of 4096 bytes from rank 3, tag 7"
  };

  Request() = default;  // already done
  explicit Request(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {}
  [[nodiscard]] bool done() { return operation_ == nullptr || advance(); }
  [[nodiscard]] std::string describe() const {
    return operation_ ? operation_->describe() : "finished operation";
  }

 private:
  bool advance() {
    if (!operation_->progress()) return false;
    operation_.reset();
    return true;
  }
  std::unique_ptr<Operation> operation_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  [[nodiscard]] virtual Rank rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Rank in the communicator this one was (transitively) split from: the peer index of traffic().
  [[nodiscard]] virtual Rank root_rank(Rank rank) const = 0;

  /// Messages between a pair with the same tag arrive in the order sent; sizes must match exactly (a
  /// shorter or longer message than the receive throws kLibrary). Tags: 0 <= tag < 1 << 20; the
  /// collectives use tags above. A rank may send to itself. Zero bytes is a message.
  [[nodiscard]] virtual Request isend(std::span<const std::byte> data, Rank to, int tag, Traffic traffic) = 0;
  [[nodiscard]] virtual Request irecv(std::span<std::byte> data, Rank from, int tag, Traffic traffic) = 0;

  /// Ranks with equal color form a communicator, ordered by (key, rank). Collective. The new one shares
  /// traffic counters, deadline and abort state with this one.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// Makes every other rank's next or current wait throw CommError(kAborted) with this reason, in bounded
  /// time. Over MPI the process group ends (MPI_Abort) after the reason was printed once.
  virtual void abort(const std::string& reason) = 0;

  [[nodiscard]] virtual TrafficTable& traffic() = 0;

  /// Longest that one wait may take; applies to this communicator and those split from it later.
  virtual void set_deadline(std::chrono::milliseconds deadline) = 0;
  [[nodiscard]] virtual std::chrono::milliseconds deadline() const = 0;

  /// Blocks until done, giving the processor away while nothing moves. Throws CommError.
  void wait(Request& request);
  void wait_all(std::span<Request> requests);

 protected:
  /// Called between polls of a wait; `idle` counts polls without progress.
  virtual void relax(int idle);
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
