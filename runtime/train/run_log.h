/// What rank 0 shows and records while training: console, metrics.jsonl, TensorBoard.
///
/// metrics.jsonl, one object per line:
///   every step       step, loss (nats), learning_rate, gradient_norm, labels, seconds, tokens_per_s,
///                    mb_sent (all ranks), exposed_wait_s (mean over ranks), utilisation (only with
///                    peak_gflops)
///   a snapshot       step, snapshot: {state_hash, whole_in, stall_s, exchange_s, write_s, kept_bytes,
///   sent_bytes,
///                    failures}
///   a restore        step, restored: {attempt, state_hash, bytes by source, seconds, ...}
///   an evaluation    step, eval_loss (nats), eval_perplexity, eval_sequences
/// A metrics or events file that cannot be written is reported once; training goes on without it.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "algos/base/status.h"
#include "runtime/train/job_recovery.h"
#include "runtime/train/tensorboard.h"
#include "runtime/train/train_inputs.h"
#include "runtime/train/trainer.h"

namespace tessera::runtime {

/// Where human-readable text goes.
struct Console {
  std::function<void(const std::string&)> write;
  bool terminal = false;  // understands carriage return and erase-line
};

class RunLog {
 public:
  /// `metrics_file` and `tensorboard_dir` may be empty: none. Lines of metrics beyond `resumed_step` are
  /// dropped, as those steps are done again.
  static Result<RunLog> make(const TrainInputs& inputs, std::int64_t parameters, Console console,
                             const std::string& metrics_file, const std::string& tensorboard_dir,
                             std::int64_t resumed_step);

  void step(const StepResult& result);
  void evaluation(std::int64_t step, const EvalResult& result);
  void snapshot(const SnapshotResult& result);
  void restored(const RestoreSummary& summary);
  /// A line of its own, above the progress line.
  void say(const std::string& line);

 private:
  RunLog(const TrainInputs& inputs, Console console);
  void record(const std::string& json_line);
  void flush();
  void progress(const StepResult& result, bool last);

  planner::TrainSpec spec_;
  Console console_;
  bool redraws_ = false;
  bool line_open_ = false;
  double flops_per_token_ = 0;
  std::string metrics_path_;
  std::optional<std::ofstream> metrics_;
  std::optional<TensorboardWriter> tensorboard_;
  // Since the last plain line, and since the start.
  double seconds_ = 0;
  std::int64_t labels_ = 0;
  std::int64_t bytes_ = 0;
  std::int64_t steps_ = 0;
  double all_seconds_ = 0;
  std::int64_t all_steps_ = 0;
};

}  // namespace tessera::runtime
