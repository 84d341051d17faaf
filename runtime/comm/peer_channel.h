/// PeerChannel: recovery's PeerExchange over a Communicator. Its messages have the tag kPeerTag and are
/// counted as Traffic::kRecovery; all_gather is the communicator's own.
#pragma once

#include <chrono>
#include <deque>

#include "recovery/peer/peer_exchange.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

inline constexpr int kPeerTag = kFirstCollectiveTag - 1;

/// Errors    CommError. Between the first call and the last, no one else uses kPeerTag on `comm`.
class PeerChannel final : public recovery::PeerExchange {
 public:
  explicit PeerChannel(Communicator& comm) : comm_(comm) {}

  [[nodiscard]] int rank() const override { return comm_.rank().value; }
  [[nodiscard]] int size() const override { return comm_.size(); }
  [[nodiscard]] std::chrono::milliseconds deadline() const override { return comm_.deadline(); }
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override;
  Ticket start_send(int to, std::span<const std::byte> bytes) override;
  Ticket start_receive(int from, std::span<std::byte> into) override;
  [[nodiscard]] bool done(Ticket message) override;
  [[nodiscard]] bool poll() override;
  void finish() override;
  void abandon() override;

 private:
  Ticket add(Request request);
  /// Advances all; throws when none has been done for the deadline.
  void advance();

  Communicator& comm_;
  std::deque<Request> requests_;  // those before the first unfinished one are gone
  Ticket first_ = 0;              // ticket of requests_.front()
  std::chrono::steady_clock::time_point moved_;
  std::size_t pending_ = 0;
};

}  // namespace tessera::runtime
