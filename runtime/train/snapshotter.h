/// Snapshots off the critical path: at a step boundary a rank copies what it has to give, and training goes
/// on while pieces travel and a thread of its own writes.
///
///   start    copies into one of two buffers: the only time training stands still
///   exchange pieces leave for the ranks that keep them (snapshot_placement.h) and arrive, by messages that
///            poll() advances between micro-batches
///   write    the thread checks what each atom adds up to and puts them into the node's memory, its disk and,
///            of each atom one copy in the job, the cloud. It never communicates.
///   settle   when all ranks have written: they agree on what was kept, and compare the copies of each atom:
///            replicas that differ are reported, not kept
///
/// Older snapshots go only after a newer one is whole in the same kind of store. A tier that fails takes
/// nothing with it: the snapshot stands while one tier has all of it. Memory: two times what the rank keeps,
/// sends and receives.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "kernels/device/buffer.h"
#include "recovery/store/store.h"
#include "runtime/comm/communicator.h"
#include "runtime/train/recovery_stores.h"
#include "runtime/train/snapshot_placement.h"
#include "runtime/train/trainer.h"

namespace tessera::runtime {

/// The same on every rank.
struct SnapshotResult {
  std::int64_t step = 0;
  std::uint64_t state_hash = 0;
  Status status;                   // not ok: no kind of store has all of it
  std::vector<std::string> tiers;  // "memory", "disk", "cloud": those that have all of it
  std::vector<Status> failures;    // of tiers that have not
  double stall_s = 0;              // of the rank that stood still longest
  double exchange_s = 0;           // from the copy to the last arrival, the longest
  double write_s = 0;              // of the thread, the longest
  std::int64_t kept_bytes = 0;     // written by all ranks to their nodes
  std::int64_t sent_bytes = 0;     // between ranks
};

class Snapshotter {
 public:
  /// Collective. `world`, `stores` and `state` must outlive this. `nodes`: by rank, as in the placement.
  Snapshotter(Communicator& world, const TrainInputs& inputs, RecoveryStores& stores, Trainer::State state,
              const std::vector<std::string>& nodes, const Clock& clock);
  ~Snapshotter();
  Snapshotter(const Snapshotter&) = delete;
  Snapshotter& operator=(const Snapshotter&) = delete;

  /// Bytes of the buffers of a rank; none where the spec keeps no snapshots. Pure.
  [[nodiscard]] static std::int64_t memory(const TrainInputs& inputs, const std::vector<std::string>& nodes,
                                           Rank rank);
  [[nodiscard]] std::string describe() const { return description_; }
  /// Whether a buffer is free; the same on every rank.
  [[nodiscard]] bool can_start() const { return under_way_.size() < slots_.size(); }
  [[nodiscard]] bool idle() const { return under_way_.empty(); }
  /// Collective in that every rank must call it at the same step. Requires can_start().
  void start(const recovery::StateMeta& meta);
  /// Advances messages; never blocks. Throws CommError.
  void poll();
  /// The oldest under way is written here: what Trainer::ask_ranks() asks.
  [[nodiscard]] bool settled();
  /// Collective, once every rank is settled(), or blocking until then.
  SnapshotResult settle();
  /// Collective, idle: the state's hash as the ranks hold it, by the same way, without writing.
  SnapshotResult examine(const recovery::StateMeta& meta);

 private:
  enum class Source : std::uint8_t { kParameters, kFirstMoment, kSecondMoment };
  /// Floats from the training state into a slot.
  struct Copy {
    Source source = Source::kParameters;
    bool outgoing = false;  // else among what this rank keeps
    std::int64_t from = 0;
    std::int64_t to = 0;
    std::int64_t count = 0;
  };
  struct Message {
    Rank peer;
    std::int64_t begin = 0;  // floats, in outgoing or incoming
    std::int64_t count = 0;
  };
  /// What arrived, into what this rank keeps.
  struct Arrival {
    std::int64_t from = 0;
    std::int64_t to = 0;
    std::int64_t count = 0;
  };
  struct Kept {
    int atom = 0;
    std::int64_t begin = 0;  // floats
    bool cloud = false;
  };
  static constexpr std::size_t kTiers = 3;
  struct Slot {
    kernels::Buffer<float> kept;
    kernels::Buffer<float> outgoing;
    kernels::Buffer<float> incoming;
    std::vector<Request> requests;
    recovery::StateMeta meta;
    bool write = true;
    Nanoseconds begin{};
    double stall_s = 0;
    double exchange_s = 0;
    bool handed_over = false;
    // Guarded by mutex_ from handing over until written.
    bool written = false;
    double write_s = 0;
    std::array<Status, kTiers> tiers;
    std::vector<std::uint64_t> checksums;  // by kept_
  };

  void plan_copies(const TrainInputs& inputs, const SnapshotPlacement& placement);
  void begin(const recovery::StateMeta& meta, bool write);
  void work();
  void write(Slot& slot);
  void enqueue(std::function<void()> job);
  void remove_older(std::int64_t step, const SnapshotResult& result);
  [[nodiscard]] Slot& oldest() { return slots_[under_way_.front()]; }

  Communicator& world_;
  std::unique_ptr<Communicator> channel_;  // messages of snapshots apart from those of steps
  RecoveryStores& stores_;
  Trainer::State state_;
  const Clock& clock_;
  recovery::AtomTable table_;
  std::int64_t keep_ = 1;
  bool first_on_node_ = false;
  std::string description_;
  std::vector<Kept> kept_;  // rising by atom
  std::vector<Copy> copies_;
  std::vector<Message> sends_;
  std::vector<Message> receives_;
  std::vector<Arrival> arrivals_;
  std::int64_t sent_bytes_ = 0;  // of this rank in a snapshot
  std::array<Slot, 2> slots_;
  std::deque<std::size_t> under_way_;     // slots, the oldest first
  std::vector<std::int64_t> disk_steps_;  // whole there, rising

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread worker_;
};

}  // namespace tessera::runtime
