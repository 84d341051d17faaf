#include "runtime/comm/peer_channel.h"

#include <algorithm>
#include <utility>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

using Clock = std::chrono::steady_clock;

/// A shorter deadline for one wait.
class ShortDeadline {
 public:
  ShortDeadline(Communicator& comm, std::chrono::milliseconds deadline)
      : comm_(comm), before_(comm.deadline()) {
    comm_.set_deadline(deadline);
  }
  ~ShortDeadline() { comm_.set_deadline(before_); }
  ShortDeadline(const ShortDeadline&) = delete;
  ShortDeadline& operator=(const ShortDeadline&) = delete;

 private:
  Communicator& comm_;
  std::chrono::milliseconds before_;
};

}  // namespace

std::vector<std::vector<std::byte>> PeerChannel::all_gather(std::span<const std::byte> mine) {
  return all_gather_bytes(comm_, mine);
}

PeerChannel::Ticket PeerChannel::start_send(int to, std::span<const std::byte> bytes) {
  return add(comm_.isend(bytes, Rank(to), kPeerTag, Traffic::kRecovery));
}

PeerChannel::Ticket PeerChannel::start_receive(int from, std::span<std::byte> into) {
  return add(comm_.irecv(into, Rank(from), kPeerTag, Traffic::kRecovery));
}

PeerChannel::Ticket PeerChannel::add(Request request) {
  if (pending_++ == 0) moved_ = Clock::now();
  requests_.push_back(std::move(request));
  return first_ + requests_.size() - 1;
}

bool PeerChannel::done(Ticket message) {
  TS_REQUIRE(message < first_ + requests_.size(), message);
  advance();
  return message < first_ || requests_[message - first_].done();
}

bool PeerChannel::poll() {
  advance();
  return pending_ == 0;
}

void PeerChannel::advance() {
  comm_.poll();
  const auto pending = static_cast<std::size_t>(
      std::count_if(requests_.begin(), requests_.end(), [](Request& request) { return !request.done(); }));
  if (pending != pending_) moved_ = Clock::now();
  pending_ = pending;
  while (!requests_.empty() && requests_.front().done()) {
    requests_.pop_front();
    ++first_;
  }
  // The communicator's wait says best who holds us up. Others may go on meanwhile, so it is short.
  if (pending_ > 0 && Clock::now() - moved_ > comm_.deadline()) {
    const ShortDeadline deadline(comm_, std::max(comm_.deadline() / 4, std::chrono::milliseconds(1)));
    comm_.wait(requests_.front());
    moved_ = Clock::now();
  }
}

void PeerChannel::finish() {
  std::vector<Request> all(std::make_move_iterator(requests_.begin()),
                           std::make_move_iterator(requests_.end()));
  requests_.clear();
  first_ += all.size();
  pending_ = 0;
  comm_.wait_all(all);
}

void PeerChannel::abandon() {
  first_ += requests_.size();
  requests_.clear();
  pending_ = 0;
}

}  // namespace tessera::runtime
