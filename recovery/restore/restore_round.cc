#include "recovery/restore/restore_round.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "recovery/restore/work_queue.h"

namespace tessera::recovery {
namespace {

using Buffer = std::vector<std::byte>;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

bool is_lasting(const Status& status) {
  return status.code() == Code::kDataLoss || status.code() == Code::kNotFound;
}

/// Reads of one store by one rank. After a few failures in a row that are not the atom's it is left alone for
/// the round: a store that is down would otherwise cost its time-out once for each atom.
class StoreReader {
 public:
  explicit StoreReader(Store* store) : store_(store) {}

  Status read(const RestoreRequest& request, const StoredSnapshot* stored, int atom, Buffer& into) {
    constexpr int kFailuresInARow = 3;
    {
      const std::lock_guard lock(mutex_);
      if (failures_in_a_row_ >= kFailuresInARow) {
        return {Code::kUnavailable, "not tried, after " + last_};
      }
    }
    if (store_ == nullptr || stored == nullptr) return {Code::kNotFound, "there is no such store here"};
    const Status status = read_atom(*store_, request.job, *stored, atom, into);
    const std::lock_guard lock(mutex_);
    if (status.ok() || is_lasting(status)) {
      failures_in_a_row_ = 0;
    } else {
      ++failures_in_a_row_;
      last_ = status.message();
    }
    return status;
  }

 private:
  Store* store_;
  std::mutex mutex_;
  int failures_in_a_row_ = 0;
  std::string last_;
};

class Round {
 public:
  Round(PeerExchange& peers, const RestoreRequest& request, const Snapshot& snapshot, Landing& landing,
        int node, const AtomSet& undelivered)
      : peers_(peers),
        request_(request),
        snapshot_(snapshot),
        landing_(landing),
        node_(node),
        undelivered_(undelivered),
        last_begin_(std::chrono::steady_clock::now() + peers.deadline() / 3),
        readers_{StoreReader(request.memory), StoreReader(request.disk), StoreReader(request.cloud)} {}

  RoundResult run(std::span<const Load> loads, std::span<const RankFetch> fetches) {
    for (const RankFetch& fetch : fetches) {
      if (fetch.from_rank == peers_.rank()) sends_.waiting.push_back(fetch);
      if (fetch.to_rank != peers_.rank()) continue;
      (fetch.fetch.from == kCloudNode ? downloads_.waiting : receives_.waiting).push_back(fetch);
    }
    try {
      for (const Load& load : loads) start_load(load);
      for (int idle = 0; !is_over();) {
        const bool moved = advance();
        idle = moved ? 0 : idle + 1;
        if (!moved) rest(idle);
      }
    } catch (...) {
      peers_.abandon();
      throw;
    }
    return std::move(result_);
  }

 private:
  /// Fetches of one kind in order, a window of them under way.
  struct Lane {
    std::deque<RankFetch> waiting;
    std::int64_t bytes = 0;
    int under_way = 0;
  };

  struct Send {
    RankFetch fetch;
    Buffer bytes;
    bool is_read = false;
    std::byte verdict{0};
    std::vector<PeerExchange::Ticket> messages;  // none: not started
  };

  struct Receive {
    RankFetch fetch;
    Buffer bytes;
    std::byte verdict{0};
    std::optional<PeerExchange::Ticket> message;
    bool body = false;
  };

  [[nodiscard]] std::int64_t size_of(const RankFetch& fetch) const {
    return snapshot_.table.bytes(fetch.fetch.atom);
  }
  [[nodiscard]] bool fits(const Lane& lane) const {
    return !lane.waiting.empty() &&
           (lane.under_way == 0 || lane.bytes + size_of(lane.waiting.front()) <= request_.window_bytes);
  }
  RankFetch take(Lane& lane) {
    RankFetch fetch = lane.waiting.front();
    lane.waiting.pop_front();
    lane.bytes += size_of(fetch);
    ++lane.under_way;
    return fetch;
  }
  void leave(Lane& lane, const RankFetch& fetch) {
    lane.bytes -= size_of(fetch);
    --lane.under_way;
  }
  [[nodiscard]] bool is_over() const {
    const auto over = [](const Lane& lane) { return lane.waiting.empty() && lane.under_way == 0; };
    return loads_left_ == 0 && over(sends_) && over(receives_) && over(downloads_);
  }

  [[nodiscard]] bool is_late() const { return std::chrono::steady_clock::now() > last_begin_; }

  bool advance() {
    bool moved = completions_.run();
    moved = start_downloads() || moved;
    moved = start_reads() || moved;
    moved = advance_sends() || moved;
    moved = advance_receives() || moved;
    return moved;
  }

  /// Messages move while somebody asks for them, so with some under way the pauses are short.
  void rest(int idle) {
    constexpr int kYields = 64;
    const bool messages = !active_sends_.empty() || receives_.under_way > 0;
    if (!messages) {
      completions_.wait(std::chrono::milliseconds(5));
    } else if (idle < kYields) {
      std::this_thread::yield();
    } else {
      completions_.wait(std::chrono::microseconds(50));
    }
  }

  void fail(Holder holder, int atom, int node, const Status& status) {
    result_.failures.push_back({holder, atom, node, is_lasting(status), one_line(status.message())});
  }

  // ---- on any thread

  Status read(const Holder& holder, int atom, Buffer& into) {
    into.resize(static_cast<std::size_t>(snapshot_.table.bytes(atom)));
    return readers_[static_cast<std::size_t>(holder.tier)].read(request_, snapshot_.in(holder), atom, into);
  }
  Status read(const LandedAtom& landed, int atom, Buffer& into) {
    into.resize(static_cast<std::size_t>(landed.place.bytes));
    TS_TRY(landing_.store(landed.tier)
               .read(step_folder(request_.job, snapshot_.meta.step) + landed.place.object, 0, into));
    return verify(atom, into);
  }
  [[nodiscard]] Status verify(int atom, Bytes bytes) const {
    if (checksum(bytes) == snapshot_.checksums[at(atom)]) return {};
    return {Code::kDataLoss, "the bytes have another checksum"};
  }
  bool deliver(int atom, Bytes bytes) {
    if (!undelivered_.has(atom)) return false;
    const std::lock_guard lock(deliver_mutex_);
    request_.deliver(atom, bytes);
    return true;
  }

  // ---- on the thread of the round

  void start_load(const Load& load) {
    ++loads_left_;
    loader_.add([this, load]() -> std::function<void()> {
      if (is_late()) {
        return [this] {
          --loads_left_;
          ++result_.left;
        };
      }
      const Holder holder{node_, load.tier};
      Buffer bytes;
      const Status status = read(holder, load.atom, bytes);
      const bool delivered = status.ok() && deliver(load.atom, bytes);
      return [this, holder, load, status, delivered] {
        --loads_left_;
        if (!status.ok()) fail(holder, load.atom, node_, status);
        if (delivered) result_.delivered.push_back(load.atom);
      };
    });
  }

  /// What has come, and is right, goes to the ranks that need it: to this one at once, to others from the
  /// store.
  std::function<void()> accept(const RankFetch& fetch, Bytes bytes) {
    const int atom = fetch.fetch.atom;
    const bool delivered = deliver(atom, bytes);
    const Result<LandedAtom> landed = landing_.keep(atom, bytes, snapshot_.checksums[at(atom)]);
    return [this, fetch, atom, delivered, landed] {
      if (delivered) result_.delivered.push_back(atom);
      if (landed.ok()) {
        result_.landings.push_back({atom, landed.value()});
        arrived_[atom] = landed.value();
      } else {
        result_.notes.push_back(fmt::format("node {} does not keep {}: {}", request_.node,
                                            to_string(snapshot_.table.at(atom)),
                                            one_line(landed.status().message())));
        arrived_[atom] = std::nullopt;
      }
      std::int64_t& sum = fetch.fetch.tier == Tier::kCloud  ? result_.fetched.cloud
                          : fetch.fetch.tier == Tier::kDisk ? result_.fetched.peer_disk
                                                            : result_.fetched.peer_memory;
      sum += size_of(fetch);
    };
  }

  bool start_downloads() {
    bool moved = false;
    for (; fits(downloads_); moved = true) {
      const RankFetch fetch = take(downloads_);
      downloader_.add([this, fetch]() -> std::function<void()> {
        const int atom = fetch.fetch.atom;
        if (is_late()) {
          return [this, fetch, atom] {
            leave(downloads_, fetch);
            arrived_[atom] = std::nullopt;
            ++result_.left;
          };
        }
        Buffer bytes;
        const Status status = read(Holder{}, atom, bytes);
        const std::function<void()> accepted = status.ok() ? accept(fetch, bytes) : nullptr;
        return [this, fetch, atom, status, accepted] {
          leave(downloads_, fetch);
          if (accepted) {
            accepted();
          } else {
            arrived_[atom] = std::nullopt;
            fail(Holder{}, atom, node_, status);
          }
        };
      });
    }
    return moved;
  }

  bool start_reads() {
    bool moved = false;
    for (; fits(sends_); moved = true) {
      const Fetch& next = sends_.waiting.front().fetch;
      const auto arrived = arrived_.find(next.atom);
      if (next.passed_on && arrived == arrived_.end()) break;  // it is still to come
      active_sends_.push_back(std::make_shared<Send>());
      const std::shared_ptr<Send> send = active_sends_.back();
      send->fetch = take(sends_);
      if (!next_is_here(send->fetch)) {
        send->is_read = true;  // with a verdict of no
        continue;
      }
      const std::optional<LandedAtom> landed =
          send->fetch.fetch.passed_on ? arrived->second : std::optional<LandedAtom>();
      server_.add([this, send, landed]() -> std::function<void()> {
        if (is_late()) {
          return [this, send] {
            send->is_read = true;  // with a verdict of no
            ++result_.left;
          };
        }
        const Fetch& fetch = send->fetch.fetch;
        const Holder holder{node_, landed ? landed->tier : fetch.tier};
        const Status status =
            landed ? read(*landed, fetch.atom, send->bytes) : read(holder, fetch.atom, send->bytes);
        return [this, send, holder, status] {
          send->is_read = true;
          send->verdict = std::byte{status.ok()};
          if (!status.ok()) fail(holder, send->fetch.fetch.atom, send->fetch.fetch.to, status);
        };
      });
    }
    return moved;
  }

  [[nodiscard]] bool next_is_here(const RankFetch& fetch) const {
    return !fetch.fetch.passed_on || arrived_.at(fetch.fetch.atom).has_value();
  }

  bool advance_sends() {
    bool moved = false;
    for (const std::shared_ptr<Send>& send : active_sends_) {
      if (!send->messages.empty()) continue;
      if (!send->is_read) break;  // what a receiver waits for first must start first
      const int to = send->fetch.to_rank;
      send->messages.push_back(peers_.start_send(to, {&send->verdict, 1}));
      if (send->verdict != std::byte{0}) send->messages.push_back(peers_.start_send(to, send->bytes));
      moved = true;
    }
    const auto is_done = [&](const std::shared_ptr<Send>& send) {
      if (send->messages.empty()) return false;
      // Both are asked: each asking moves messages.
      for (const PeerExchange::Ticket message : send->messages) {
        if (!peers_.done(message)) return false;
      }
      leave(sends_, send->fetch);
      return true;
    };
    return std::erase_if(active_sends_, is_done) > 0 || moved;
  }

  bool advance_receives() {
    bool moved = false;
    for (; fits(receives_); moved = true) {
      auto receive = std::make_shared<Receive>();
      receive->fetch = take(receives_);
      active_receives_[receive->fetch.from_rank].push_back(receive);
    }
    for (auto& [from, queue] : active_receives_) {
      while (!queue.empty() && advance_receive(queue.front())) {
        queue.pop_front();
        moved = true;
      }
    }
    return moved;
  }

  /// Whether its messages are done.
  bool advance_receive(const std::shared_ptr<Receive>& receive) {
    const RankFetch& fetch = receive->fetch;
    const Holder source{fetch.fetch.from, fetch.fetch.tier};
    if (!receive->message) receive->message = peers_.start_receive(fetch.from_rank, {&receive->verdict, 1});
    if (!peers_.done(*receive->message)) return false;
    if (!receive->body) {
      if (receive->verdict == std::byte{0}) {  // the source tells why
        leave(receives_, fetch);
        arrived_[fetch.fetch.atom] = std::nullopt;
        return true;
      }
      receive->body = true;
      receive->bytes.resize(static_cast<std::size_t>(size_of(fetch)));
      receive->message = peers_.start_receive(fetch.from_rank, receive->bytes);
      if (!peers_.done(*receive->message)) return false;
    }
    keeper_.add([this, receive, source]() -> std::function<void()> {
      const RankFetch& fetch = receive->fetch;
      const Status status = verify(fetch.fetch.atom, receive->bytes);
      const std::function<void()> accepted = status.ok() ? accept(fetch, receive->bytes) : nullptr;
      return [this, receive, source, accepted] {
        const RankFetch& fetch = receive->fetch;
        leave(receives_, fetch);
        if (accepted) {
          accepted();
          return;
        }
        // The source had verified it: the way spoiled it, and the copy may still be right.
        arrived_[fetch.fetch.atom] = std::nullopt;
        fail(source, fetch.fetch.atom, node_, {Code::kUnavailable, "spoiled on the way"});
      };
    });
    return true;
  }

  PeerExchange& peers_;
  const RestoreRequest& request_;
  const Snapshot& snapshot_;
  Landing& landing_;
  const int node_;
  const AtomSet& undelivered_;
  const std::chrono::steady_clock::time_point last_begin_;
  StoreReader readers_[3];  // by Tier
  std::mutex deliver_mutex_;

  RoundResult result_;
  int loads_left_ = 0;
  Lane sends_;
  Lane receives_;
  Lane downloads_;
  std::vector<std::shared_ptr<Send>> active_sends_;                      // in order
  std::map<int, std::deque<std::shared_ptr<Receive>>> active_receives_;  // by source rank, in order
  std::map<int, std::optional<LandedAtom>> arrived_;                     // by atom; empty: it did not

  Completions completions_;
  // Last, so that their threads end first.
  WorkQueue loader_{1, completions_};
  WorkQueue server_{1, completions_};
  WorkQueue keeper_{1, completions_};
  WorkQueue downloader_{std::max(1, request_.cloud_connections), completions_};
};

}  // namespace

RoundResult run_round(PeerExchange& peers, const RestoreRequest& request, const Snapshot& snapshot,
                      Landing& landing, int node, const AtomSet& undelivered, std::span<const Load> loads,
                      std::span<const RankFetch> fetches) {
  return Round(peers, request, snapshot, landing, node, undelivered).run(loads, fetches);
}

}  // namespace tessera::recovery
