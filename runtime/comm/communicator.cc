#include "runtime/comm/communicator.h"

#include <fmt/format.h>

#include "algos/base/processor_time.h"
#include "algos/base/require.h"

namespace tessera::runtime {

std::string_view traffic_name(Traffic traffic) {
  switch (traffic) {
    case Traffic::kQuery: return "query";
    case Traffic::kKeyValue: return "key_value";
    case Traffic::kPartialOut: return "partial_out";
    case Traffic::kQueryGrad: return "query_grad";
    case Traffic::kKeyValueGrad: return "key_value_grad";
    case Traffic::kHeadExchange: return "head_exchange";
    case Traffic::kTensor: return "tensor";
    case Traffic::kPipeline: return "pipeline";
    case Traffic::kGradient: return "gradient";
    case Traffic::kParameter: return "parameter";
    case Traffic::kControl: return "control";
    case Traffic::kRecovery: return "recovery";
    case Traffic::kCount: break;
  }
  TS_REQUIRE(traffic < Traffic::kCount, static_cast<int>(traffic));
  return "";
}

namespace {

constexpr int kKinds = static_cast<int>(Traffic::kCount);

void add(TrafficCount& sum, const TrafficCount& count) {
  sum.bytes_sent += count.bytes_sent;
  sum.bytes_received += count.bytes_received;
  sum.messages_sent += count.messages_sent;
  sum.messages_received += count.messages_received;
}

std::size_t slot(int peers, Rank peer, Traffic traffic) {
  TS_REQUIRE(0 <= peer.value && peer.value < peers, peer, peers);
  TS_REQUIRE(traffic < Traffic::kCount, static_cast<int>(traffic));
  return static_cast<std::size_t>(peer.value) * kKinds + static_cast<std::size_t>(traffic);
}

/// Adds the time between its construction and its end, the thread's and the wall clock's, however the wait
/// ends.
class WaitingTime {
 public:
  WaitingTime(double& processor_s, double& wall_s) : processor_s_(processor_s), wall_s_(wall_s) {}
  ~WaitingTime() {
    processor_s_ += thread_processor_s() - processor_begin_;
    wall_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  WaitingTime(const WaitingTime&) = delete;
  WaitingTime& operator=(const WaitingTime&) = delete;

 private:
  double& processor_s_;
  double& wall_s_;
  double processor_begin_ = thread_processor_s();
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

TrafficTable::TrafficTable(int peers) : peers_(peers), counts_(static_cast<std::size_t>(peers) * kKinds) {}

void TrafficTable::sent(Rank peer, Traffic traffic, std::int64_t bytes) {
  TrafficCount& count = counts_[slot(peers_, peer, traffic)];
  count.bytes_sent += bytes;
  ++count.messages_sent;
}

void TrafficTable::received(Rank peer, Traffic traffic, std::int64_t bytes) {
  TrafficCount& count = counts_[slot(peers_, peer, traffic)];
  count.bytes_received += bytes;
  ++count.messages_received;
}

TrafficCount TrafficTable::at(Rank peer, Traffic traffic) const {
  return counts_[slot(peers_, peer, traffic)];
}

TrafficCount TrafficTable::by_kind(Traffic traffic) const {
  TrafficCount sum;
  for (int p = 0; p < peers_; ++p) add(sum, at(Rank(p), traffic));
  return sum;
}

TrafficCount TrafficTable::by_peer(Rank peer) const {
  TrafficCount sum;
  for (int k = 0; k < kKinds; ++k) add(sum, at(peer, static_cast<Traffic>(k)));
  return sum;
}

TrafficCount TrafficTable::total() const {
  TrafficCount sum;
  for (const TrafficCount& count : counts_) add(sum, count);
  return sum;
}

void TrafficTable::reset() { counts_.assign(counts_.size(), TrafficCount{}); }

Rank Communicator::root_rank(Rank rank) const {
  TS_REQUIRE(0 <= rank.value && rank.value < size(), rank, size());
  return members_[static_cast<std::size_t>(rank.value)];
}

std::vector<Rank> Communicator::first_ranks(int n) {
  std::vector<Rank> ranks;
  for (int r = 0; r < n; ++r) ranks.push_back(Rank(r));
  return ranks;
}

void Communicator::wait(Request& request) { wait_all({&request, 1}); }

void Communicator::wait_all(std::span<Request> requests) {
  using Clock = std::chrono::steady_clock;
  throw_if_aborted();
  const WaitingTime spent(shared_->waiting_processor_s, shared_->waiting_s);
  std::size_t first = 0;  // all before it are done
  const auto all_done = [&] {
    while (first < requests.size() && requests[first].done()) ++first;
    if (first == requests.size()) return true;
    // One pass over the rest, so that they advance together; the loop above decides.
    for (std::size_t i = first + 1; i < requests.size(); ++i) (void)requests[i].done();
    return false;
  };
  if (all_done()) return;
  const Clock::time_point start = Clock::now();
  for (int idle = 0;; ++idle) {
    poll();
    relax(idle, requests[first]);
    if (all_done()) return;
    const auto elapsed = Clock::now() - start;
    if (elapsed <= deadline()) continue;
    // Taken before asking around, which may take time in which things move.
    const std::string what = requests[first].describe();
    const std::string culprit = blame(requests[first].waits_for());
    throw CommError(
        CommError::Cause::kDeadline,
        fmt::format(
            "rank {} waited {:.1f} s for {}; the deadline is {:.1f} s. {} Look at the output and the host of "
            "the rank named last; if it was only slow, raise the deadline.",
            root_rank(rank()).value, std::chrono::duration<double>(elapsed).count(), what,
            std::chrono::duration<double>(deadline()).count(), culprit));
  }
}

void Communicator::poll() {
  // By index: an operation never enters or leaves the list from inside progress().
  const auto& operations = *shared_->in_flight;
  for (std::size_t i = 0; i < operations.size(); ++i) (void)operations[i]->progress();
}

int Communicator::next_collective_tag() {
  // A tag comes round again after 2^20 collectives, when the ones that used it have long ended.
  const int tag = kFirstCollectiveTag + collectives_started_;
  collectives_started_ = (collectives_started_ + 1) % kFirstCollectiveTag;
  return tag;
}

}  // namespace tessera::runtime
