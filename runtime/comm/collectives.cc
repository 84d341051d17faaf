#include "runtime/comm/collectives.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

int modulo(int i, int n) { return ((i % n) + n) % n; }

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// A collective in flight: waits and polls of its communicator advance it.
class InFlight : public Request::Operation {
 public:
  explicit InFlight(Communicator& comm)
      : comm_(comm), tag_(comm.next_collective_tag()), in_flight_(comm.in_flight()) {
    in_flight_->push_back(this);
  }
  ~InFlight() override { std::erase(*in_flight_, this); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 protected:
  Communicator& comm_;
  int tag_;

 private:
  Communicator::InFlight in_flight_;  // while unwinding the communicator may go first
};

/// Reduce-scatter, all-gather, and the two in a row, as one pipeline around the ring.
///
/// In step k of 0 .. 2(n-1)-1 rank r sends block r-1-k to its right and receives block r-2-k (mod n) from
/// its left: steps 0 .. n-2 add what they receive, steps n-1 .. 2n-3 keep it. A block moves in segments of
/// kSegment elements, so that adding one segment overlaps with moving the next, across steps too: segment s
/// of step k can be sent once segment s of step k-1 is in. Items are numbered k * segments + s.
class Ring final : public InFlight {
 public:
  enum class Kind : std::uint8_t { kReduceScatter, kAllGather, kAllReduce };

  Ring(Communicator& comm, std::span<float> data, Traffic traffic, Kind kind)
      : InFlight(comm), data_(data), traffic_(traffic), kind_(kind), n_(comm.size()), r_(comm.rank().value) {
    const auto count = static_cast<std::int64_t>(data.size());
    segments_ = segments((count + n_ - 1) / n_);
    first_ = kind == Kind::kAllGather ? (n_ - 1) * segments_ : 0;
    end_ = (kind == Kind::kReduceScatter ? n_ - 1 : 2 * (n_ - 1)) * segments_;
    sends_done_ = send_next_ = receives_done_ = receive_next_ = first_;
    if (first_ < (n_ - 1) * segments_) {
      const std::int64_t longest = std::min<std::int64_t>(kSegment, (count + n_ - 1) / n_);
      scratch_ = comm.scratch()->take(index(kWindow * longest) * sizeof(float));
      scratch_stride_ = longest;
    }
  }

  bool progress() override {
    if (sends_done_ == end_ && receives_done_ == end_) return true;
    bool moved = true;
    while (moved) {
      moved = false;
      while (receives_done_ < receive_next_ && receives_[slot(receives_done_)].done()) {
        take_in(receives_done_);
        ++receives_done_;
        moved = true;
      }
      while (sends_done_ < send_next_ && sends_[slot(sends_done_)].done()) {
        ++sends_done_;
        moved = true;
      }
      while (may_receive(receive_next_)) {
        start_receive(receive_next_);
        ++receive_next_;
        moved = true;
      }
      while (may_send(send_next_)) {
        start_send(send_next_);
        ++send_next_;
        moved = true;
      }
    }
    return sends_done_ == end_ && receives_done_ == end_;
  }

  [[nodiscard]] std::string describe() const override {
    constexpr std::array<const char*, 3> kNames = {"reduce_scatter", "all_gather", "all_reduce"};
    return fmt::format("{} of {} bytes over {} ranks, segment {} of {}: {}",
                       kNames[static_cast<std::size_t>(kind_)], data_.size_bytes(), n_,
                       receives_done_ - first_, end_ - first_, pending().describe());
  }
  [[nodiscard]] Rank waits_for() const override { return pending().waits_for(); }

 private:
  static constexpr std::int64_t kSegment = kSegmentElements;
  static constexpr int kWindow = 4;  // messages under way in each direction

  [[nodiscard]] std::size_t slot(std::int64_t item) const { return index(item % kWindow); }
  [[nodiscard]] bool adds(std::int64_t item) const { return item < (n_ - 1) * segments_; }

  [[nodiscard]] std::span<float> part(std::int64_t item, int block_of_step_0) const {
    const int block = modulo(block_of_step_0 - static_cast<int>(item / segments_), n_);
    const auto count = static_cast<std::int64_t>(data_.size());
    const std::int64_t end = block_begin(count, n_, block + 1);
    const std::int64_t from = std::min(end, block_begin(count, n_, block) + item % segments_ * kSegment);
    return data_.subspan(index(from), index(std::min(end, from + kSegment) - from));
  }
  [[nodiscard]] std::span<float> sent_part(std::int64_t item) const { return part(item, r_ - 1); }
  [[nodiscard]] std::span<float> received_part(std::int64_t item) const { return part(item, r_ - 2); }
  [[nodiscard]] float* scratch(std::int64_t item) const {
    return reinterpret_cast<float*>(scratch_.bytes().data()) + item % kWindow * scratch_stride_;
  }

  [[nodiscard]] bool may_send(std::int64_t item) const {
    return item < end_ && item < sends_done_ + kWindow &&
           (item < first_ + segments_ || item - segments_ < receives_done_);
  }
  /// A gathering receive overwrites what step k - (n-1) sent: that send must be over.
  [[nodiscard]] bool may_receive(std::int64_t item) const {
    return item < end_ && item < receives_done_ + kWindow &&
           (adds(item) || item - (n_ - 1) * segments_ < sends_done_ || first_ > 0);
  }

  // Blocks differ in length by one element, so the last segment of some is empty: no message.
  void start_send(std::int64_t item) {
    const std::span<float> from = sent_part(item);
    sends_[slot(item)] =
        from.empty() ? Request() : comm_.isend(std::as_bytes(from), Rank(modulo(r_ + 1, n_)), tag_, traffic_);
  }
  void start_receive(std::int64_t item) {
    const std::span<float> into = received_part(item);
    std::byte* const target =
        adds(item) ? reinterpret_cast<std::byte*>(scratch(item)) : std::as_writable_bytes(into).data();
    receives_[slot(item)] =
        into.empty() ? Request()
                     : comm_.irecv({target, into.size_bytes()}, Rank(modulo(r_ - 1, n_)), tag_, traffic_);
  }
  void take_in(std::int64_t item) {
    if (!adds(item)) return;
    const std::span<float> sum = received_part(item);
    const float* const addend = scratch(item);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += addend[i];
  }

  [[nodiscard]] const Request& pending() const {
    return receives_done_ < receive_next_ || sends_done_ == send_next_ ? receives_[slot(receives_done_)]
                                                                       : sends_[slot(sends_done_)];
  }

  std::span<float> data_;
  Traffic traffic_;
  Kind kind_;
  int n_;
  int r_;
  std::int64_t segments_ = 0;  // per block
  std::int64_t first_ = 0;     // items [first_, end_) are this operation's
  std::int64_t end_ = 0;
  std::int64_t sends_done_ = 0, send_next_ = 0, receives_done_ = 0, receive_next_ = 0;
  ScratchPool::Lease scratch_;
  std::int64_t scratch_stride_ = 0;
  std::array<Request, kWindow> sends_;
  std::array<Request, kWindow> receives_;
};

class AllToAll final : public InFlight {
 public:
  AllToAll(Communicator& comm, std::span<const std::span<const std::byte>> send,
           std::span<const std::span<std::byte>> recv, Traffic traffic)
      : InFlight(comm) {
    const int n = comm.size();
    const int r = comm.rank().value;
    TS_REQUIRE(static_cast<int>(send.size()) == n, send.size(), n);
    TS_REQUIRE(static_cast<int>(recv.size()) == n, recv.size(), n);
    const auto own = send[index(r)];
    TS_REQUIRE(own.size() == recv[index(r)].size(), own.size(), recv[index(r)].size());
    for (int i = 1; i < n; ++i) {
      const int from = modulo(r - i, n);
      requests_.push_back(comm.irecv(recv[index(from)], Rank(from), tag_, traffic));
    }
    for (int i = 1; i < n; ++i) {
      const int to = modulo(r + i, n);
      requests_.push_back(comm.isend(send[index(to)], Rank(to), tag_, traffic));
    }
    if (!own.empty()) std::memmove(recv[index(r)].data(), own.data(), own.size());
  }

  bool progress() override {
    std::size_t unfinished = 0;
    for (Request& request : requests_) {
      if (request.done()) continue;
      std::swap(requests_[unfinished], request);
      ++unfinished;
    }
    requests_.resize(unfinished);
    return requests_.empty();
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("all_to_all over {} ranks, {} messages unfinished: {}", comm_.size(), requests_.size(),
                       pending().describe());
  }
  [[nodiscard]] Rank waits_for() const override { return pending().waits_for(); }

 private:
  [[nodiscard]] const Request& pending() const {
    static const Request kDone;
    return requests_.empty() ? kDone : requests_.front();
  }
  std::vector<Request> requests_;
};

Request start_ring(Communicator& comm, std::span<float> data, Traffic traffic, Ring::Kind kind) {
  auto ring = std::make_unique<Ring>(comm, data, traffic, kind);
  (void)ring->progress();  // the first messages leave before the caller computes
  return Request(std::move(ring));
}

void exchange(Communicator& comm, std::span<const std::byte> send, int to, std::span<std::byte> receive,
              int from, int tag) {
  std::array<Request, 2> both = {comm.irecv(receive, Rank(from), tag, Traffic::kControl),
                                 comm.isend(send, Rank(to), tag, Traffic::kControl)};
  comm.wait_all(both);
}

/// Bruck's all-gather: ceil(log2 n) messages per rank, each block received once. On return, blocks lie in
/// the order of ranks r, r+1, ... (mod n); block i is bytes [offset[i], offset[i + 1]) of the result.
/// Bruck et al. 1997, IEEE TPDS 8(11).
/// `sizes` are those of the blocks in that order.
std::vector<std::byte> gather_rotated(Communicator& comm, std::span<const std::byte> mine,
                                      std::span<const std::size_t> sizes) {
  const int n = comm.size();
  const int r = comm.rank().value;
  const int tag = comm.next_collective_tag();
  const auto bytes_of_first = [&](int blocks) {
    std::size_t sum = 0;
    for (int i = 0; i < blocks; ++i) sum += sizes[index(i)];
    return sum;
  };
  std::vector<std::byte> all(bytes_of_first(n));
  std::copy(mine.begin(), mine.end(), all.begin());
  for (int have = 1; have < n; have *= 2) {
    const int moved = std::min(have, n - have);  // blocks
    const std::size_t begin = bytes_of_first(have);
    const std::size_t end = bytes_of_first(have + moved);
    exchange(comm, std::span(all).first(bytes_of_first(moved)), modulo(r - have, n),
             std::span(all).subspan(begin, end - begin), modulo(r + have, n), tag);
  }
  return all;
}

}  // namespace

Request ireduce_scatter_sum(Communicator& comm, std::span<float> data, Traffic traffic) {
  return start_ring(comm, data, traffic, Ring::Kind::kReduceScatter);
}
Request iall_gather(Communicator& comm, std::span<float> data, Traffic traffic) {
  return start_ring(comm, data, traffic, Ring::Kind::kAllGather);
}
Request iall_reduce_sum(Communicator& comm, std::span<float> data, Traffic traffic) {
  return start_ring(comm, data, traffic, Ring::Kind::kAllReduce);
}

void reduce_scatter_sum(Communicator& comm, std::span<float> data, Traffic traffic) {
  Request request = ireduce_scatter_sum(comm, data, traffic);
  comm.wait(request);
}
void all_gather(Communicator& comm, std::span<float> data, Traffic traffic) {
  Request request = iall_gather(comm, data, traffic);
  comm.wait(request);
}
void all_reduce_sum(Communicator& comm, std::span<float> data, Traffic traffic) {
  Request request = iall_reduce_sum(comm, data, traffic);
  comm.wait(request);
}

void all_reduce(Communicator& comm, std::span<double> data, Reduction reduction) {
  const int n = comm.size();
  const std::vector<std::size_t> sizes(index(n), data.size_bytes());
  const std::vector<std::byte> all = gather_rotated(comm, std::as_bytes(data), sizes);
  for (int rank = 0; rank < n; ++rank) {  // in rank order everywhere: the same value everywhere
    const std::byte* const block =
        all.data() + index(modulo(rank - comm.rank().value, n)) * data.size_bytes();
    for (std::size_t i = 0; i < data.size(); ++i) {
      double x = 0;
      std::memcpy(&x, block + i * sizeof(double), sizeof(double));
      if (rank == 0) {
        data[i] = x;
      } else if (reduction == Reduction::kSum) {
        data[i] += x;
      } else if (reduction == Reduction::kMin) {
        data[i] = std::min(data[i], x);
      } else {
        data[i] = std::max(data[i], x);
      }
    }
  }
}

void broadcast(Communicator& comm, std::span<std::byte> data, Rank root, Traffic traffic) {
  const int n = comm.size();
  TS_REQUIRE(0 <= root.value && root.value < n, root, n);
  const int tag = comm.next_collective_tag();
  // Renumbered so that the root is 0: v hears from v without its lowest set bit, then tells v + 2^j for
  // each 2^j below that bit.
  const int v = modulo(comm.rank().value - root.value, n);
  const auto rank_of = [&](int renumbered) { return Rank(modulo(renumbered + root.value, n)); };
  int bit = 1;
  while (bit < n && (v & bit) == 0) bit *= 2;
  if (v != 0) {
    Request receive = comm.irecv(data, rank_of(v - bit), tag, traffic);
    comm.wait(receive);
  }
  std::vector<Request> sends;
  for (bit /= 2; bit > 0; bit /= 2) {  // the largest subtree first
    if (v + bit < n) sends.push_back(comm.isend(data, rank_of(v + bit), tag, traffic));
  }
  comm.wait_all(sends);
}

std::vector<std::vector<std::byte>> all_gather_bytes(Communicator& comm, std::span<const std::byte> mine) {
  const int n = comm.size();
  const std::uint64_t size = mine.size();
  const std::vector<std::size_t> size_sizes(index(n), sizeof(size));
  const std::vector<std::byte> all_sizes = gather_rotated(comm, as_bytes(&size, 1), size_sizes);
  std::vector<std::size_t> sizes(index(n));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::uint64_t one = 0;
    std::memcpy(&one, all_sizes.data() + i * sizeof(one), sizeof(one));
    sizes[i] = one;
  }
  const std::vector<std::byte> all = gather_rotated(comm, mine, sizes);
  std::vector<std::vector<std::byte>> result(index(n));
  std::size_t begin = 0;
  for (int i = 0; i < n; ++i) {
    const std::byte* const from = all.data() + begin;
    begin += sizes[index(i)];
    result[index(modulo(comm.rank().value + i, n))].assign(from, all.data() + begin);
  }
  return result;
}

Request iall_to_all(Communicator& comm, std::span<const std::span<const std::byte>> send,
                    std::span<const std::span<std::byte>> recv, Traffic traffic) {
  return Request(std::make_unique<AllToAll>(comm, send, recv, traffic));
}

void barrier(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  const int tag = comm.next_collective_tag();
  for (int distance = 1; distance < n; distance *= 2) {
    exchange(comm, {}, modulo(r + distance, n), {}, modulo(r - distance, n), tag);
  }
}

}  // namespace tessera::runtime
