/// What a run moved and waited for, beside what the formulas say it must move.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/train/job_recovery.h"
#include "runtime/train/trainer.h"

namespace tessera::runtime {

inline constexpr int kTrafficKinds = static_cast<int>(Traffic::kCount);

/// One rank's numbers, since the start of this process. Plain data: it travels as bytes.
struct RankReport {
  std::array<std::int64_t, kTrafficKinds> sent{};  // bytes measured
  /// Bytes by attention_volume, pipeline_volume and step_bytes; control and recovery: 0.
  std::array<std::int64_t, kTrafficKinds> predicted{};
  std::int64_t ring_attention = 0;  // bytes the same attention calls would send on Ring-Attention
  double attention_compute_s = 0;
  double attention_exposed_wait_s = 0;
  double attention_transfer_s = 0;
  double gradient_wait_s = 0;
  std::int64_t estimated_memory_bytes = 0;  // of this rank
  std::int64_t peak_memory_bytes = 0;       // most that this rank's process held in kernels::Buffer
  std::int64_t resident_bytes = 0;          // VmHWM of the process
  std::int64_t process = 0;                 // which one; ranks may be threads of one
};

struct RunReport {
  std::string mesh;
  std::string layout;
  int data_parallel = 1;
  int stages = 1;  // of the deepest group
  int tensor_parallel = 1;
  std::int64_t steps = 0;  // of this process
  std::int64_t last_step = 0;
  double seconds = 0;
  double tokens_per_s = 0;
  double loss = 0;  // of the last step
  EvalResult eval;  // last one; no sequences: none
  double unigram_entropy = 0;
  bool stopped_by_signal = false;
  double step_s = 0;      // mean of this process's steps
  bool recovery = false;  // snapshots are kept; the two below are of this process
  RestoreSummary restored;
  SnapshotTotals snapshots;
  std::vector<RankReport> ranks;

  [[nodiscard]] std::int64_t sent(Traffic kind) const;
  [[nodiscard]] std::int64_t predicted(Traffic kind) const;
  /// Of the process that allocated most: the estimates of its ranks, what it held, what was resident.
  struct Memory {
    std::int64_t estimated = 0;
    std::int64_t allocated = 0;
    std::int64_t resident = 0;
  };
  [[nodiscard]] Memory memory() const;
};

/// This rank's numbers after `steps` steps.
[[nodiscard]] RankReport make_rank_report(Communicator& world, const Trainer& trainer, std::int64_t steps);
/// Collective: everyone's.
[[nodiscard]] std::vector<RankReport> gather_reports(Communicator& world, const RankReport& mine);

[[nodiscard]] std::string to_text(const RunReport& report);
/// One JSON object.
[[nodiscard]] std::string to_json(const RunReport& report);

}  // namespace tessera::runtime
