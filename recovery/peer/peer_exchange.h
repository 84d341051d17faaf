/// PeerExchange: what recovery needs of the network between ranks. Recovery owns this interface; the
/// runtime's communicators implement it (runtime/comm/peer_channel.h), so that state moves over the network
/// the job trains on, not over whatever the host name resolves to.
///
/// Every wait has the communicator's deadline; a failure is thrown by the implementation and ends the attempt
/// on every rank in bounded time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::recovery {

class PeerExchange {
 public:
  using Ticket = std::uint64_t;  // of one message, counted from 0

  virtual ~PeerExchange() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Longest that a wait may take.
  [[nodiscard]] virtual std::chrono::milliseconds deadline() const = 0;

  /// Collective: what every rank gave, by rank; lengths may differ.
  [[nodiscard]] virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) = 0;

  /// Starts a message; the memory must live until it is done. Messages between two ranks arrive in the order
  /// started; lengths must match.
  virtual Ticket start_send(int to, std::span<const std::byte> bytes) = 0;
  virtual Ticket start_receive(int from, std::span<std::byte> into) = 0;
  /// Never blocks: whether this message is done. Throws when messages are under way and none has been done
  /// for the deadline.
  [[nodiscard]] virtual bool done(Ticket message) = 0;
  /// Never blocks: whether everything that was started is done. Throws as done() does.
  [[nodiscard]] virtual bool poll() = 0;
  /// Until everything that was started is done.
  virtual void finish() = 0;
  /// Forgets what was started and is not done: only on the way out of a failure, before the memory goes.
  virtual void abandon() = 0;
};

}  // namespace tessera::recovery
