#include "runtime/comm/local_comm.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/comm/blame.h"

namespace tessera::runtime {
namespace {

using std::chrono::milliseconds;

struct Key {
  int context;  // which communicator
  int from;     // root rank
  int tag;
  auto operator<=>(const Key&) const = default;
};

/// One posted side of a message. The owner reads `state` without the mailbox lock; whoever matches the
/// two sides writes it last, after which the owner may destroy the posting.
struct Posting {
  enum State : std::uint8_t { kWaiting, kDone, kMismatch };
  std::byte* target = nullptr;        // of a receive
  const std::byte* source = nullptr;  // of a send
  std::size_t size = 0;
  std::size_t other_size = 0;  // of the mismatching send
  std::atomic<State> state = kWaiting;
};

constexpr int kNotWaiting = -2;  // -1 is a wait that no single rank ends

/// What belongs to one root rank and is touched by others.
struct Endpoint {
  std::mutex mailbox_mutex;               // guards sends and receives; held during the copy
  std::multimap<Key, Posting*> sends;     // to this rank, not yet taken; equal keys in order of posting
  std::multimap<Key, Posting*> receives;  // by this rank, not yet matched
  std::mutex event_mutex;                 // leaf lock
  std::condition_variable event;
  std::uint64_t events = 0;                  // things that happened to this rank
  std::atomic<bool> ended = false;           // the body returned
  std::atomic<int> waits_for = kNotWaiting;  // root rank, while its wait sleeps
};

struct SplitRound {
  std::vector<std::pair<int, int>> color_key;  // by rank of the parent; color -1 until it comes
  std::vector<int> context;                    // of each rank's child, set by the last to arrive
  int arrived = 0;
  int left = 0;
};

struct World {
  explicit World(int n) : endpoints(static_cast<std::size_t>(n)) {}

  void notify(int rank) {
    Endpoint& endpoint = endpoints[static_cast<std::size_t>(rank)];
    {
      const std::lock_guard lock(endpoint.event_mutex);
      ++endpoint.events;
    }
    endpoint.event.notify_one();
  }
  void notify_all() {
    for (std::size_t r = 0; r < endpoints.size(); ++r) notify(static_cast<int>(r));
  }
  void abort(const std::string& why) {
    {
      const std::lock_guard lock(mutex);
      if (aborted) return;  // the first reason is the cause, later ones are consequences
      reason = why;
      aborted = true;
    }
    notify_all();
  }
  void throw_if_aborted() {
    if (!aborted) return;
    const std::lock_guard lock(mutex);
    throw CommError(CommError::Cause::kAborted, reason);
  }

  std::vector<Endpoint> endpoints;
  std::atomic<bool> aborted = false;
  std::mutex mutex;  // guards what follows
  std::string reason;
  std::map<std::pair<int, int>, SplitRound> splits;  // by (parent context, sequence number)
  int contexts = 1;
};

/// Copies and completes both sides. Called with the receiver's mailbox locked. The postings are not
/// touched after their state is written.
void deliver(Posting& send, Posting& receive) {
  if (send.size == receive.size) {
    if (send.size > 0) std::memcpy(receive.target, send.source, send.size);
    receive.state.store(Posting::kDone, std::memory_order_release);
  } else {
    receive.other_size = send.size;
    receive.state.store(Posting::kMismatch, std::memory_order_release);
  }
  send.state.store(Posting::kDone, std::memory_order_release);
}

class Message final : public Request::Operation {
 public:
  /// A receive if `target` is set, else a send.
  Message(std::shared_ptr<World> world, TrafficTable* table, Key key, int to, std::byte* target,
          const std::byte* source, std::size_t size, Traffic traffic)
      : world_(std::move(world)), table_(table), key_(key), to_(to), traffic_(traffic) {
    posting_.target = target;
    posting_.source = source;
    posting_.size = size;
    is_send_ = target == nullptr;
  }

  void post() {
    Endpoint& endpoint = world_->endpoints[static_cast<std::size_t>(to_)];
    auto& mine = is_send_ ? endpoint.sends : endpoint.receives;
    auto& others = is_send_ ? endpoint.receives : endpoint.sends;
    {
      const std::lock_guard lock(endpoint.mailbox_mutex);
      const auto match = others.lower_bound(key_);
      if (match == others.end() || match->first != key_) {
        mine.emplace(key_, &posting_);
        return;
      }
      Posting& other = *match->second;
      others.erase(match);
      deliver(is_send_ ? posting_ : other, is_send_ ? other : posting_);
    }
    world_->notify(is_send_ ? to_ : key_.from);
    // Also the own rank, which may be between two polls of a wait for this message.
    world_->notify(is_send_ ? key_.from : to_);
  }

  ~Message() override {
    if (posting_.state.load(std::memory_order_acquire) != Posting::kWaiting) return;
    Endpoint& endpoint = world_->endpoints[static_cast<std::size_t>(to_)];
    const std::lock_guard lock(endpoint.mailbox_mutex);  // waits for a copy in progress
    auto& mine = is_send_ ? endpoint.sends : endpoint.receives;
    const auto [begin, end] = mine.equal_range(key_);
    const auto it = std::find_if(begin, end, [&](const auto& entry) { return entry.second == &posting_; });
    if (it != end) mine.erase(it);
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  bool progress() override {
    world_->throw_if_aborted();
    const int peer = waits_for().value;
    // Read before the state: a rank that has ended can no longer change it.
    const bool ended = world_->endpoints[static_cast<std::size_t>(peer)].ended;
    switch (posting_.state.load(std::memory_order_acquire)) {
      case Posting::kDone:
        if (!counted_ && !is_send_) {
          table_->received(Rank(peer), traffic_, static_cast<std::int64_t>(posting_.size));
        }
        counted_ = true;
        return true;
      case Posting::kMismatch:
        throw CommError(
            CommError::Cause::kLibrary,
            fmt::format("rank {}: {} met a message of {} bytes; both sides must agree on the size", to_,
                        describe(), posting_.other_size));
      case Posting::kWaiting: break;
    }
    if (ended) {
      throw CommError(CommError::Cause::kAborted,
                      fmt::format("rank {}: {} can never finish: that rank has ended",
                                  is_send_ ? key_.from : to_, describe()));
    }
    return false;
  }

  [[nodiscard]] std::string describe() const override {
    return fmt::format("{} of {} bytes {} rank {}, tag {}", is_send_ ? "send" : "receive", posting_.size,
                       is_send_ ? "to" : "from", waits_for().value, key_.tag);
  }
  [[nodiscard]] Rank waits_for() const override { return Rank(is_send_ ? to_ : key_.from); }

 private:
  std::shared_ptr<World> world_;
  TrafficTable* table_;
  Key key_;
  int to_;  // root rank of the receiver, whose mailbox this is
  Traffic traffic_;
  bool is_send_;
  bool counted_ = false;
  Posting posting_;
};

class SplitWait final : public Request::Operation {
 public:
  SplitWait(std::shared_ptr<World> world, std::pair<int, int> key, std::vector<Rank> members)
      : world_(std::move(world)), key_(key), members_(std::move(members)) {}
  bool progress() override {
    world_->throw_if_aborted();
    const std::lock_guard lock(world_->mutex);
    const auto& color_key = world_->splits.at(key_).color_key;
    for (std::size_t r = 0; r < members_.size(); ++r) {
      if (color_key[r].first >= 0) continue;
      missing_ = members_[r];
      return false;
    }
    return true;
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("split of {} ranks, to which rank {} has not come", members_.size(), missing_.value);
  }
  [[nodiscard]] Rank waits_for() const override { return missing_; }

 private:
  std::shared_ptr<World> world_;
  std::pair<int, int> key_;
  std::vector<Rank> members_;  // root ranks
  Rank missing_;
};

class LocalComm final : public Communicator {
 public:
  LocalComm(std::shared_ptr<World> world, Rank rank)
      : world_(std::move(world)), own_(std::make_shared<Own>(static_cast<int>(world_->endpoints.size()))) {
    set_members(first_ranks(static_cast<int>(world_->endpoints.size())), rank);
  }
  LocalComm(const LocalComm& parent, int context, std::vector<Rank> members, Rank rank)
      : Communicator(&parent), world_(parent.world_), own_(parent.own_), context_(context) {
    set_members(std::move(members), rank);
  }

  [[nodiscard]] Request isend(std::span<const std::byte> data, Rank to, int tag, Traffic traffic) override {
    const int root = root_rank(to).value;
    auto message =
        std::make_unique<Message>(world_, &own_->traffic, Key{context_, root_rank(rank()).value, tag}, root,
                                  nullptr, data.data(), data.size(), traffic);
    own_->traffic.sent(Rank(root), traffic, static_cast<std::int64_t>(data.size()));
    message->post();
    return Request(std::move(message));
  }

  [[nodiscard]] Request irecv(std::span<std::byte> data, Rank from, int tag, Traffic traffic) override {
    static std::byte nowhere;  // the address of an empty receive
    auto message = std::make_unique<Message>(
        world_, &own_->traffic, Key{context_, root_rank(from).value, tag}, root_rank(rank()).value,
        data.empty() ? &nowhere : data.data(), nullptr, data.size(), traffic);
    message->post();
    return Request(std::move(message));
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int color, int key) override {
    TS_REQUIRE(color >= 0, color);
    const std::pair<int, int> round_key{context_, splits_started_++};
    bool last = false;
    {
      const std::lock_guard lock(world_->mutex);
      SplitRound& round = world_->splits[round_key];
      round.color_key.resize(members().size(), {-1, -1});
      round.color_key[static_cast<std::size_t>(rank().value)] = {color, key};
      last = ++round.arrived == size();
      if (last) {
        std::map<int, int> context_of_color;
        for (const auto& [c, k] : round.color_key) {
          const auto [it, fresh] = context_of_color.try_emplace(c, world_->contexts);
          if (fresh) ++world_->contexts;
          round.context.push_back(it->second);
        }
      }
    }
    if (last) {
      for (const Rank member : members()) world_->notify(member.value);
    }
    Request arrival(std::make_unique<SplitWait>(world_, round_key, members()));
    wait(arrival);

    const std::lock_guard lock(world_->mutex);
    SplitRound& round = world_->splits.at(round_key);
    std::vector<std::tuple<int, int>> ordered;  // (key, rank) of this rank's color
    for (int r = 0; r < size(); ++r) {
      const auto& [c, k] = round.color_key[static_cast<std::size_t>(r)];
      if (c == color) ordered.emplace_back(k, r);
    }
    std::sort(ordered.begin(), ordered.end());
    std::vector<Rank> chosen;
    Rank mine;
    for (const auto& [k, r] : ordered) {
      if (r == rank().value) mine = Rank(static_cast<int>(chosen.size()));
      chosen.push_back(members()[static_cast<std::size_t>(r)]);
    }
    const int context = round.context[static_cast<std::size_t>(rank().value)];
    if (++round.left == size()) world_->splits.erase(round_key);
    return std::make_unique<LocalComm>(*this, context, std::move(chosen), mine);
  }

  void abort(const std::string& reason) override { world_->abort(reason); }
  [[nodiscard]] TrafficTable& traffic() override { return own_->traffic; }

 protected:
  /// Sleeps until something happened to this rank since the last call, or for an eighth of the deadline.
  void relax(int /*idle*/, const Request& pending) override {
    Endpoint& endpoint = world_->endpoints[static_cast<std::size_t>(root_rank(rank()).value)];
    const milliseconds slice = std::clamp(deadline() / 8, milliseconds(1), milliseconds(200));
    endpoint.waits_for = pending.waits_for().value;
    if (!busy_wait()) {
      std::unique_lock lock(endpoint.event_mutex);
      endpoint.event.wait_for(lock, slice, [&] { return endpoint.events != own_->events_seen; });
      own_->events_seen = endpoint.events;
    }
    endpoint.waits_for = kNotWaiting;
  }

  [[nodiscard]] std::string blame(Rank peer) override {
    // In a ring all deadlines pass together: whoever asks about this rank while it asks must find it waiting.
    world_->endpoints[static_cast<std::size_t>(root_rank(rank()).value)].waits_for = peer.value;
    // A waiting rank is awake for moments; only one awake every time does not wait.
    const auto ask = [&](Rank rank) -> std::optional<Rank> {
      Endpoint& endpoint = world_->endpoints[static_cast<std::size_t>(rank.value)];
      for (int i = 0; i < 20; ++i) {
        const int waits_for = endpoint.waits_for;
        if (waits_for != kNotWaiting) return Rank(waits_for);
        std::this_thread::sleep_for(std::min(milliseconds(1), deadline() / 100));
      }
      return std::nullopt;
    };
    return blame_chain(root_rank(rank()), peer, ask, "is in no wait: it computes, or is blocked elsewhere");
  }

  void throw_if_aborted() const override { world_->throw_if_aborted(); }

 private:
  /// What this rank's communicators share.
  struct Own {
    explicit Own(int ranks) : traffic(ranks) {}
    TrafficTable traffic;
    std::uint64_t events_seen = 0;
  };

  std::shared_ptr<World> world_;
  std::shared_ptr<Own> own_;
  int context_ = 0;
  int splits_started_ = 0;
};

}  // namespace

void run_local_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  TS_REQUIRE(ranks >= 1, ranks);
  const auto world = std::make_shared<World>(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  const auto fail = [&](Communicator& comm, const std::string& reason) {
    {
      const std::lock_guard lock(mutex);
      if (first == nullptr) first = std::current_exception();
    }
    comm.abort(fmt::format("rank {} failed: {}", comm.rank().value, reason));
  };
  const auto run = [&](int rank) {
    LocalComm comm(world, Rank(rank));
    try {
      body(comm);
      world->endpoints[static_cast<std::size_t>(rank)].ended = true;
      world->notify_all();
    } catch (const std::exception& e) {
      fail(comm, e.what());
    } catch (...) {
      fail(comm, "an exception that is no std::exception");
    }
  };
  std::vector<std::thread> threads;
  try {
    for (int r = 0; r < ranks; ++r) threads.emplace_back(run, r);
  } catch (const std::exception& e) {  // the system gives no more threads
    world->abort(e.what());
    for (std::thread& thread : threads) thread.join();
    throw;
  }
  for (std::thread& thread : threads) thread.join();
  if (first != nullptr) std::rethrow_exception(first);
}

}  // namespace tessera::runtime
