#include "runtime/comm/mpi_comm.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <mpi.h>

#include "algos/base/require.h"
#include "runtime/comm/blame.h"
#include "runtime/comm/mpi_error.h"

namespace tessera::runtime {

void throw_mpi_error(int code, const char* call, const char* file, int line) {
  std::array<char, MPI_MAX_ERROR_STRING> words{};
  int length = 0;
  if (MPI_Error_string(code, words.data(), &length) != MPI_SUCCESS) length = 0;
  int rank = -1;
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized != 0) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw MpiError(code, fmt::format("rank {}: {} failed at {}:{}: {}", rank, call, file, line,
                                   std::string_view(words.data(), static_cast<std::size_t>(length))));
}

namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

std::atomic<bool> aborting = false;

/// Ends the process if it is not destroyed in time: for calls that may block for ever because another rank
/// is stopped or gone. mpirun ends the job when one process exits with an error.
class Watchdog {
 public:
  Watchdog(std::string call, milliseconds deadline)
      : thread_([this, call = std::move(call), deadline] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, deadline, [this] { return done_; })) return;
          std::fprintf(
              stderr,
              "tessera: %s took longer than the deadline of %.1f s: another rank is stopped or gone; "
              "ending this process\n",
              call.c_str(), std::chrono::duration<double>(deadline).count());
          std::_Exit(1);
        }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_one();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;  // last: starts when the rest is there
};

[[noreturn]] void end_job(const std::string& reason) {
  aborting = true;
  int rank = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::string line = fmt::format("tessera: rank {} ends the job: {}\n", rank, reason);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  const Watchdog watchdog("MPI_Abort", std::chrono::seconds(10));
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::_Exit(1);
}

/// One MPI communicator; freed unless an exception is on its way, as freeing is a collective call.
class MpiHandle {
 public:
  explicit MpiHandle(MPI_Comm comm) : comm_(comm) {}
  ~MpiHandle() {
    if (comm_ == MPI_COMM_NULL || aborting || std::uncaught_exceptions() > 0) return;
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0) MPI_Comm_free(&comm_);
  }
  MpiHandle(const MpiHandle&) = delete;
  MpiHandle& operator=(const MpiHandle&) = delete;
  [[nodiscard]] MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_;
};

MPI_Comm duplicate_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  TS_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  TS_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  return comm;
}

/// A type of `bytes` contiguous bytes, for counts beyond int. The caller frees it.
MPI_Datatype contiguous_type(std::size_t bytes, std::size_t largest_count) {
  const std::size_t whole = bytes / largest_count;
  TS_REQUIRE(whole <= static_cast<std::size_t>(std::numeric_limits<int>::max()), bytes);
  MPI_Datatype block = MPI_DATATYPE_NULL;
  MPI_Datatype blocks = MPI_DATATYPE_NULL;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  TS_MPI(MPI_Type_contiguous(static_cast<int>(largest_count), MPI_BYTE, &block));
  TS_MPI(MPI_Type_contiguous(static_cast<int>(whole), block, &blocks));
  const std::array<int, 2> counts = {1, static_cast<int>(bytes - whole * largest_count)};
  const std::array<MPI_Aint, 2> places = {0, static_cast<MPI_Aint>(whole * largest_count)};
  const std::array<MPI_Datatype, 2> types = {blocks, MPI_BYTE};
  TS_MPI(MPI_Type_create_struct(2, counts.data(), places.data(), types.data(), &type));
  TS_MPI(MPI_Type_commit(&type));
  TS_MPI(MPI_Type_free(&block));
  TS_MPI(MPI_Type_free(&blocks));
  return type;
}

/// Calls post(count, type) with an MPI type that covers `bytes`.
template <class Post>
void with_type(std::size_t bytes, std::size_t largest_count, Post post) {
  if (bytes <= largest_count) {
    post(static_cast<int>(bytes), MPI_BYTE);
    return;
  }
  MPI_Datatype type = contiguous_type(bytes, largest_count);
  post(1, type);
  TS_MPI(MPI_Type_free(&type));  // takes effect when the message is through
}

/// What the communicators of one process share: counters, and the questions "whom do you wait for".
class Node {
 public:
  explicit Node(MpiLimits limits) : limits_(limits), comm_(duplicate_world()) {
    TS_MPI(MPI_Comm_size(comm_.get(), &ranks_));
    TS_MPI(MPI_Comm_rank(comm_.get(), &rank_));
    traffic_.emplace(ranks_);
  }

  [[nodiscard]] TrafficTable& traffic() { return *traffic_; }
  [[nodiscard]] const MpiLimits& limits() const { return limits_; }
  [[nodiscard]] int ranks() const { return ranks_; }

  void message_done() { ++messages_done_; }
  /// Polls in a row in which no message ended.
  int quiet_polls(bool wait_begins) {
    if (wait_begins || messages_done_ != messages_seen_) quiet_polls_ = 0;
    messages_seen_ = messages_done_;
    return quiet_polls_++;
  }

  /// Answers the questions that have come. `waits_for` is this rank's own answer.
  void answer(Rank waits_for) {
    for (;;) {
      int found = 0;
      MPI_Status status{};
      TS_MPI(MPI_Iprobe(MPI_ANY_SOURCE, kQuestion, comm_.get(), &found, &status));
      if (found == 0) break;
      int number = 0;
      TS_MPI(MPI_Recv(&number, 1, MPI_INT, status.MPI_SOURCE, kQuestion, comm_.get(), MPI_STATUS_IGNORE));
      answers_.push_back({{number, waits_for.value}, MPI_REQUEST_NULL});
      TS_MPI(MPI_Isend(answers_.back().words.data(), 2, MPI_INT, status.MPI_SOURCE, kAnswer, comm_.get(),
                       &answers_.back().request));
    }
    answers_.remove_if([](Outgoing& outgoing) {
      int done = 0;
      return MPI_Test(&outgoing.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
    });
  }

  /// Whom `other` waits for; nothing if it does not say so by `until`. Meanwhile answers others.
  std::optional<Rank> ask(Rank other, Rank waits_for, SteadyClock::time_point until) {
    put_question(other);
    do {
      answer(waits_for);
      if (const auto words = take_answer(other); words && (*words)[0] == questions_) return Rank((*words)[1]);
      usleep(1000);
    } while (SteadyClock::now() < until);
    return std::nullopt;
  }

  /// When a rank stops, the deadlines of all others pass together: the lowest of those that abort within a
  /// tenth of a second speaks for them. Ignores errors, as the job is ending.
  bool may_give_reason() {
    static const int kNothing = 0;
    for (int r = rank_ + 1; r < ranks_; ++r) {
      MPI_Request request = MPI_REQUEST_NULL;
      MPI_Isend(&kNothing, 1, MPI_INT, r, kAborting, comm_.get(), &request);
      if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
    }
    for (int i = 0; i < 100; ++i) {
      int found = 0;
      MPI_Iprobe(MPI_ANY_SOURCE, kAborting, comm_.get(), &found, MPI_STATUS_IGNORE);
      if (found != 0) return false;
      usleep(1000);
    }
    return true;
  }

  /// The first of `others` that does not answer within half the time to `until`, or Rank(-1). All are asked
  /// at once.
  Rank silent_rank(const std::vector<Rank>& others, Rank self, SteadyClock::time_point until) {
    const auto half = SteadyClock::now() + (until - SteadyClock::now()) / 2;
    std::vector<Rank> silent;
    for (const Rank other : others) {
      if (other == self) continue;
      put_question(other);
      silent.push_back(other);
    }
    while (!silent.empty() && SteadyClock::now() < half) {
      answer(Rank(-1));
      std::erase_if(silent, [&](Rank other) { return take_answer(other).has_value(); });
      usleep(1000);
    }
    return silent.empty() ? Rank(-1) : silent.front();
  }

 private:
  void put_question(Rank other) {
    answers_.push_back({{++questions_, 0}, MPI_REQUEST_NULL});
    TS_MPI(MPI_Isend(answers_.back().words.data(), 1, MPI_INT, other.value, kQuestion, comm_.get(),
                     &answers_.back().request));
  }
  std::optional<std::array<int, 2>> take_answer(Rank other) {
    int found = 0;
    TS_MPI(MPI_Iprobe(other.value, kAnswer, comm_.get(), &found, MPI_STATUS_IGNORE));
    if (found == 0) return std::nullopt;
    std::array<int, 2> words{};
    TS_MPI(MPI_Recv(words.data(), 2, MPI_INT, other.value, kAnswer, comm_.get(), MPI_STATUS_IGNORE));
    return words;
  }

  static constexpr int kQuestion = 1;
  static constexpr int kAnswer = 2;
  static constexpr int kAborting = 3;
  struct Outgoing {
    std::array<int, 2> words;  // number of the question, answer
    MPI_Request request;
  };

  MpiLimits limits_;
  MpiHandle comm_;
  int ranks_ = 0;
  int rank_ = 0;
  std::optional<TrafficTable> traffic_;
  std::list<Outgoing> answers_;  // stable addresses; also questions under way
  int questions_ = 0;
  std::int64_t messages_done_ = 0;
  std::int64_t messages_seen_ = 0;
  int quiet_polls_ = 0;
};

/// Sizes of the messages of a rank to itself. Open MPI 4.1 cuts such a message to the size of an already
/// posted receive and reports success, so they are compared here. Messages match in order, by tag.
class SelfSizes {
 public:
  using Size = std::shared_ptr<std::optional<std::size_t>>;  // of the send that meets the receive

  void sent(int tag, std::size_t size) {
    auto& waiting = receives_[tag];
    while (!waiting.empty()) {
      const Size receive = waiting.front().lock();
      waiting.pop_front();
      if (receive == nullptr) continue;  // withdrawn
      *receive = size;
      if (waiting.empty()) receives_.erase(tag);
      return;
    }
    receives_.erase(tag);
    sends_[tag].push_back(size);
  }

  [[nodiscard]] Size received(int tag) {
    auto size = std::make_shared<std::optional<std::size_t>>();
    if (const auto it = sends_.find(tag); it != sends_.end()) {
      *size = it->second.front();
      it->second.pop_front();
      if (it->second.empty()) sends_.erase(it);
    } else {
      receives_[tag].push_back(size);
    }
    return size;
  }

 private:
  std::map<int, std::deque<std::size_t>> sends_;                                   // not met by a receive
  std::map<int, std::deque<std::weak_ptr<std::optional<std::size_t>>>> receives_;  // not met by a send
};

class Message final : public Request::Operation {
 public:
  Message(std::shared_ptr<Node> node, std::shared_ptr<MpiHandle> comm, Rank peer, int tag, std::size_t size,
          Traffic traffic, bool is_send)
      : node_(std::move(node)),
        comm_(std::move(comm)),
        peer_(peer),
        tag_(tag),
        size_(size),
        traffic_(traffic),
        is_send_(is_send) {}
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() override {
    if (request_ == MPI_REQUEST_NULL || aborting) return;
    // Only while unwinding. A receive that nothing has matched is withdrawn; anything further cannot be
    // stopped, and the process is about to end.
    MPI_Cancel(&request_);
    int done = 0;
    MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
    if (done == 0) MPI_Request_free(&request_);
  }

  [[nodiscard]] MPI_Request* request() { return &request_; }
  void expect(SelfSizes::Size size) { self_size_ = std::move(size); }

  bool progress() override {
    if (request_ == MPI_REQUEST_NULL) return true;
    int done = 0;
    MPI_Status status{};
    const int code = MPI_Test(&request_, &done, &status);
    if (code != MPI_SUCCESS) {
      request_ = MPI_REQUEST_NULL;
      int error_class = 0;
      MPI_Error_class(code, &error_class);
      if (error_class == MPI_ERR_TRUNCATE) throw_mismatch("a longer message");
      throw_mpi_error(code, describe().c_str(), __FILE__, __LINE__);
    }
    if (done == 0) return false;
    request_ = MPI_REQUEST_NULL;
    node_->message_done();
    if (is_send_) return true;
    MPI_Count received = 0;
    TS_MPI(MPI_Get_elements_x(&status, MPI_BYTE, &received));
    if (self_size_ && *self_size_) received = static_cast<MPI_Count>(**self_size_);
    if (received != static_cast<MPI_Count>(size_)) {
      throw_mismatch(fmt::format("a message of {} bytes", static_cast<std::int64_t>(received)));
    }
    node_->traffic().received(peer_, traffic_, static_cast<std::int64_t>(size_));
    return true;
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("{} of {} bytes {} rank {}, tag {}", is_send_ ? "send" : "receive", size_,
                       is_send_ ? "to" : "from", peer_.value, tag_);
  }
  [[nodiscard]] Rank waits_for() const override { return peer_; }

 private:
  [[noreturn]] void throw_mismatch(const std::string& met) const {
    int rank = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    throw CommError(
        CommError::Cause::kLibrary,
        fmt::format("rank {}: {} met {}; both sides must agree on the size", rank, describe(), met));
  }

  std::shared_ptr<Node> node_;
  std::shared_ptr<MpiHandle> comm_;
  Rank peer_;  // root rank
  int tag_;
  std::size_t size_;
  Traffic traffic_;
  bool is_send_;
  SelfSizes::Size self_size_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class MpiComm final : public Communicator {
 public:
  explicit MpiComm(std::shared_ptr<Node> node)
      : node_(std::move(node)), comm_(std::make_shared<MpiHandle>(duplicate_world())) {
    void* bound = nullptr;
    int found = 0;
    TS_MPI(MPI_Comm_get_attr(comm_->get(), MPI_TAG_UB, static_cast<void*>(&bound), &found));
    if (found == 0 || *static_cast<int*>(bound) < 2 * kFirstCollectiveTag - 1) {
      throw CommError(CommError::Cause::kLibrary,
                      fmt::format("this MPI allows tags up to {}, {} are needed; choose another transport",
                                  found == 0 ? 0 : *static_cast<int*>(bound), 2 * kFirstCollectiveTag - 1));
    }
    set_members(first_ranks(node_->ranks()), rank_in(comm_->get()));
  }
  MpiComm(const MpiComm& parent, MPI_Comm comm)
      : Communicator(&parent), node_(parent.node_), comm_(std::make_shared<MpiHandle>(comm)) {
    TS_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    int size = 0;
    TS_MPI(MPI_Comm_size(comm, &size));
    MPI_Group group = MPI_GROUP_NULL;
    MPI_Group parent_group = MPI_GROUP_NULL;
    TS_MPI(MPI_Comm_group(comm, &group));
    TS_MPI(MPI_Comm_group(parent.comm_->get(), &parent_group));
    std::vector<int> ranks(static_cast<std::size_t>(size));
    std::vector<int> parent_ranks(ranks.size());
    for (int r = 0; r < size; ++r) ranks[static_cast<std::size_t>(r)] = r;
    TS_MPI(MPI_Group_translate_ranks(group, size, ranks.data(), parent_group, parent_ranks.data()));
    TS_MPI(MPI_Group_free(&group));
    TS_MPI(MPI_Group_free(&parent_group));
    std::vector<Rank> members;
    for (const int r : parent_ranks) members.push_back(parent.root_rank(Rank(r)));
    set_members(std::move(members), rank_in(comm));
  }

  [[nodiscard]] Request isend(std::span<const std::byte> data, Rank to, int tag, Traffic traffic) override {
    auto message = std::make_unique<Message>(node_, comm_, root_rank(to), tag, data.size(), traffic, true);
    with_type(data.size(), node_->limits().largest_count, [&](int count, MPI_Datatype type) {
      TS_MPI(MPI_Isend(data.data(), count, type, to.value, tag, comm_->get(), message->request()));
    });
    if (to == rank()) self_sizes_.sent(tag, data.size());
    node_->traffic().sent(root_rank(to), traffic, static_cast<std::int64_t>(data.size()));
    return Request(std::move(message));
  }

  [[nodiscard]] Request irecv(std::span<std::byte> data, Rank from, int tag, Traffic traffic) override {
    auto message = std::make_unique<Message>(node_, comm_, root_rank(from), tag, data.size(), traffic, false);
    if (from == rank()) message->expect(self_sizes_.received(tag));
    with_type(data.size(), node_->limits().largest_count, [&](int count, MPI_Datatype type) {
      TS_MPI(MPI_Irecv(data.data(), count, type, from.value, tag, comm_->get(), message->request()));
    });
    return Request(std::move(message));
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int color, int key) override {
    TS_REQUIRE(color >= 0, color);
    MPI_Comm comm = MPI_COMM_NULL;
    // Not a call that can be polled: first a barrier that can, so that a missing rank is found by its name.
    MPI_Request arrival_request = MPI_REQUEST_NULL;
    TS_MPI(MPI_Ibarrier(comm_->get(), &arrival_request));
    Request arrival(std::make_unique<Arrival>(comm_, arrival_request));
    wait(arrival);
    const Watchdog watchdog("MPI_Comm_split", deadline());
    TS_MPI(MPI_Comm_split(comm_->get(), color, key, &comm));
    return std::make_unique<MpiComm>(*this, comm);
  }

  void abort(const std::string& reason) override {
    aborting = true;
    // The rank that was told to keep quiet ends with the job; if the job does not end, it speaks after all.
    if (!node_->may_give_reason()) std::this_thread::sleep_for(std::chrono::seconds(3));
    end_job(reason);
  }
  [[nodiscard]] TrafficTable& traffic() override { return node_->traffic(); }

 protected:
  void relax(int idle, const Request& pending) override {
    if (idle % kPollsPerAnswer == kPollsPerAnswer - 1) node_->answer(pending.waits_for());
    if (busy_wait()) return;
    if (node_->quiet_polls(idle == 0) < kYields) {
      sched_yield();
    } else {
      usleep(50);
    }
  }

  [[nodiscard]] std::string blame(Rank peer) override {
    const auto until =
        SteadyClock::now() + std::min<SteadyClock::duration>(std::chrono::seconds(2), deadline() / 4);
    const std::string silent = "does not answer: it is stopped or dead, or computes and does not wait";
    const auto ask = [&](Rank other) { return node_->ask(other, peer, until); };
    const Rank self = root_rank(rank());
    return blame_chain(self, peer.value < 0 ? node_->silent_rank(members(), self, until) : peer, ask, silent);
  }

 private:
  /// Polls between two looks for questions, and polls in which no message ended before a wait sleeps
  /// between polls: about 1 ms and 20 ms. Sleeping from the start would add its 0.1 ms to every message.
  static constexpr int kPollsPerAnswer = 1000;
  static constexpr int kYields = 20000;

  class Arrival final : public Request::Operation {
   public:
    Arrival(std::shared_ptr<MpiHandle> comm, MPI_Request request)
        : comm_(std::move(comm)), request_(request) {}
    bool progress() override {
      int done = 0;
      TS_MPI(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
      return done != 0;
    }
    [[nodiscard]] std::string describe() const override { return "split: not all ranks have come"; }
    [[nodiscard]] Rank waits_for() const override { return Rank(-1); }

   private:
    std::shared_ptr<MpiHandle> comm_;
    MPI_Request request_;
  };

  static Rank rank_in(MPI_Comm comm) {
    int rank = 0;
    TS_MPI(MPI_Comm_rank(comm, &rank));
    return Rank(rank);
  }

  std::shared_ptr<Node> node_;
  std::shared_ptr<MpiHandle> comm_;
  SelfSizes self_sizes_;
};

}  // namespace

MpiEnvironment::MpiEnvironment(int& argc, char**& argv, milliseconds finalize_deadline)
    : finalize_deadline_(finalize_deadline), exceptions_(std::uncaught_exceptions()) {
  const Watchdog watchdog("MPI_Init_thread", kDefaultDeadline);
  int provided = 0;
  TS_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
  TS_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  if (provided < MPI_THREAD_FUNNELED) {
    throw CommError(CommError::Cause::kLibrary, "this MPI cannot run in a process with threads");
  }
}

MpiEnvironment::~MpiEnvironment() {
  if (std::uncaught_exceptions() > exceptions_) end_job("an exception left main");
  const Watchdog watchdog("MPI_Finalize", finalize_deadline_);
  MPI_Finalize();
}

std::unique_ptr<Communicator> make_mpi_world(MpiLimits limits) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  TS_REQUIRE(initialized != 0);
  return std::make_unique<MpiComm>(std::make_shared<Node>(limits));
}

}  // namespace tessera::runtime
