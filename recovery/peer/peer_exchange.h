/// PeerExchange: what recovery needs of the network between ranks. Recovery owns this interface; the
/// runtime's communicators implement it (runtime/comm/peer_channel.h), so that state moves over the network
/// the job trains on, not over whatever the host name resolves to.
///
/// Every wait has the communicator's deadline; a failure is thrown by the implementation and ends the attempt
/// on every rank in bounded time.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tessera::recovery {

class PeerExchange {
 public:
  virtual ~PeerExchange() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  /// Collective: what every rank gave, by rank; lengths may differ.
  [[nodiscard]] virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) = 0;

  /// Starts a message; the memory must live until finish(). Messages between two ranks arrive in the order
  /// started; lengths must match.
  virtual void start_send(int to, std::span<const std::byte> bytes) = 0;
  virtual void start_receive(int from, std::span<std::byte> into) = 0;
  /// Never blocks: whether everything that was started is done.
  [[nodiscard]] virtual bool poll() = 0;
  /// Until everything that was started is done.
  virtual void finish() = 0;
};

}  // namespace tessera::recovery
