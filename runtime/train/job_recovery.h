/// What a run does about being killed: goes on from the nearest snapshot, and takes snapshots on the way.
///
/// Restore   each rank asks for the atoms of its part, whatever the layout they were saved from; they come
/// from
///           its node, then peers, then the cloud (recovery/restore/restore.h) and land in the trainer's
///           memory. Then the ranks work out the hash of what they hold: it must be that of the snapshot.
/// Attempts  each start has a number above all before it, on every rank the same: the clock's milliseconds,
/// so
///           that two starts without a snapshot between them differ too.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "recovery/restore/restore.h"
#include "runtime/comm/communicator.h"
#include "runtime/train/recovery_stores.h"
#include "runtime/train/snapshotter.h"
#include "runtime/train/train_inputs.h"
#include "runtime/train/trainer.h"

namespace tessera::runtime {

/// The same on every rank, but for seconds.
struct RestoreSummary {
  bool restored = false;
  std::int64_t step = 0;
  std::int64_t attempt = 0;      // that saved it
  std::uint64_t state_hash = 0;  // as saved, and as held now
  recovery::SourceBytes bytes;   // all nodes together
  double makespan_s = 0;         // of the plan
  double lower_bound_s = 0;
  int rounds = 0;
  double seconds = 0;  // rank 0
};

/// One JSON object: step, attempt, state_hash, bytes by source, seconds and what the plan expected.
[[nodiscard]] std::string to_json(const RestoreSummary& summary);

struct SnapshotTotals {
  std::int64_t taken = 0;
  std::int64_t failed = 0;
  std::int64_t skipped = 0;  // both buffers were busy
  double stall_s = 0;        // sum over the snapshots taken
  double longest_stall_s = 0;
  std::int64_t kept_bytes = 0;
  std::int64_t sent_bytes = 0;
  std::int64_t last_step = -1;  // of the newest that is whole
  std::uint64_t last_hash = 0;
};

class JobRecovery {
 public:
  /// Collective; everything must outlive this. Errors are the same on every rank.
  static Result<std::unique_ptr<JobRecovery>> make(Communicator& world, const TrainInputs& inputs,
                                                   Trainer& trainer, const Clock& clock);

  /// Collective: whether the stores hold anything of this job.
  [[nodiscard]] Result<bool> holds_anything();
  /// Collective: removes it.
  [[nodiscard]] Status remove_all();

  /// Collective: the newest snapshot, of step `least_step` at the least, into the trainer.
  /// Errors    kNotFound: none. kDataLoss: there are some, and none can be put together, or what the ranks
  /// hold
  ///           is not what was saved. kInvalidArgument: they are of another run.
  [[nodiscard]] Status restore(std::int64_t least_step);
  /// Decisions of the last restore, in order.
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] const RestoreSummary& restored() const { return restored_; }

  /// Collective: from here on snapshots are taken. Tells how they are placed.
  [[nodiscard]] std::string begin();

  using Report = std::function<void(const SnapshotResult&)>;
  /// Collective, after each step: settles what has been written everywhere, and takes a snapshot when one is
  /// due. After a failed one the next is due at the next step, then two, four, ... later.
  void step_done(const StepResult& step, const Report& report);
  /// Collective: a snapshot of the last step unless there is one, and all that are under way.
  void finish(const Report& report);
  /// Between micro-batches.
  void poll() {
    if (snapshotter_) snapshotter_->poll();
  }
  [[nodiscard]] bool settled() { return snapshotter_ && snapshotter_->settled(); }
  [[nodiscard]] const SnapshotTotals& totals() const { return totals_; }
  /// Of this rank's buffers.
  [[nodiscard]] std::int64_t memory_bytes() const {
    return Snapshotter::memory(inputs_, nodes_, world_.rank());
  }

 private:
  JobRecovery(Communicator& world, const TrainInputs& inputs, Trainer& trainer, const Clock& clock,
              RecoveryStores stores, std::vector<std::string> nodes);
  void take();
  void settle(const Report& report);
  /// Calls the function for each store this rank is responsible for: first of its node, or of all.
  [[nodiscard]] Status for_own_stores(const std::function<Status(recovery::Store&)>& visit);

  Communicator& world_;
  const TrainInputs& inputs_;
  Trainer& trainer_;
  const Clock& clock_;
  RecoveryStores stores_;
  std::vector<std::string> nodes_;  // by rank
  recovery::RunIdentity identity_;
  std::unique_ptr<Snapshotter> snapshotter_;
  std::int64_t attempt_ = 0;
  std::int64_t due_ = 0;      // step of the next snapshot
  std::int64_t backoff_ = 1;  // steps after a failure
  std::int64_t started_step_ = -1;
  std::vector<std::string> lines_;
  RestoreSummary restored_;
  SnapshotTotals totals_;
};

}  // namespace tessera::runtime
