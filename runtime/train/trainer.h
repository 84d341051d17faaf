/// One rank's share of training: parameters, gradients, optimizer state, and the step that changes them.
///
/// Ranks. World rank r is context rank r % C of data-parallel group r / C, C = ranks of the attention mesh.
///   8 ranks, data_parallel 2, mesh 2x2: group 1 is ranks 4, 5, 6, 7; rank 6 is its context rank 2.
/// Every rank holds all parameters; gradients are summed, moments sharded, over all 8.
///
/// Result    the loss curve of any layout equals that of one rank within the rounding of sums taken in
///           another order; on the same layout it repeats bit for bit.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/communicator.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer.h"
#include "runtime/optim/sharded_adamw.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/metered_attention.h"
#include "runtime/train/micro_batch_reader.h"
#include "runtime/train/trace.h"
#include "runtime/train/train_inputs.h"

namespace tessera::runtime {

/// The loss or the gradient is no number; training cannot go on.
class DivergedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The same on every rank, except where it says "this rank".
struct StepResult {
  std::int64_t step = 0;  // counted from 1
  double loss = 0;        // mean over the step's labels, before the update; nats
  std::int64_t labels = 0;
  double gradient_norm = 0;  // of the mean loss, before clipping
  double learning_rate = 0;
  double seconds = 0;           // this rank
  double exposed_wait_s = 0;    // in attention, mean over ranks
  std::int64_t bytes_sent = 0;  // by all ranks since the last step's agreement
  bool stop = false;            // some rank was asked to stop
};

struct EvalResult {
  double loss = 0;  // mean over labels, nats
  std::int64_t labels = 0;
  std::int64_t sequences = 0;
  [[nodiscard]] double perplexity() const;
};

class Trainer {
 public:
  /// Collective. `inputs`, `world` and `clock` must live as long as this. Reads weights when there is a
  /// directory to start from. Errors are the same on every rank.
  static Result<std::unique_ptr<Trainer>> make(Communicator& world, const TrainInputs& inputs,
                                               const Clock& clock);

  /// Forward, backward, reduction, update. Collective. Throws CommError, DivergedError.
  StepResult step();
  /// Loss on the held-out tokens. Collective.
  EvalResult evaluate();

  [[nodiscard]] std::int64_t steps_done() const { return steps_done_; }
  [[nodiscard]] const float* parameters() const { return parameters_.data(); }
  [[nodiscard]] const ParameterLayout& layout() const { return layout_; }
  [[nodiscard]] const MeteredAttention& attention() const { return *attention_; }
  [[nodiscard]] ShardedAdamw::StepBytes optimizer_bytes() const { return optimizer_.step_bytes(); }
  /// Seconds this rank took to finish the gradient sums after its backward passes.
  [[nodiscard]] double synchronisation_wait_s() const { return synchronisation_wait_s_; }

  [[nodiscard]] Status save(const std::string& root, std::int64_t keep);
  /// Collective. Leaves the training state undefined on failure.
  [[nodiscard]] Status load(const std::string& directory);

  /// Records the next step of this rank.
  void trace_next_step();
  [[nodiscard]] const TraceRecorder& trace() const { return trace_; }

 private:
  Trainer(Communicator& world, const TrainInputs& inputs, const Clock& clock,
          std::unique_ptr<Communicator> context, std::unique_ptr<MeshAttention> attention);
  Status initialise();
  [[nodiscard]] StateView state();
  LossSum forward_backward(std::int64_t micro);
  [[nodiscard]] std::int64_t bytes_sent();

  Communicator& world_;
  const TrainInputs& inputs_;
  const Clock& clock_;
  std::unique_ptr<Communicator> context_;
  int group_ = 0;  // data-parallel
  ParameterLayout layout_;
  std::unique_ptr<MeteredAttention> attention_;
  Transformer transformer_;
  kernels::Buffer<float> parameters_;
  kernels::Buffer<float> gradients_;
  ShardedAdamw optimizer_;
  SampleOrder order_;
  MicroBatchReader reader_;
  TraceRecorder trace_;
  bool trace_wanted_ = false;
  std::int64_t steps_done_ = 0;
  std::int64_t bytes_counted_ = 0;
  double wait_counted_s_ = 0;
  double synchronisation_wait_s_ = 0;
};

}  // namespace tessera::runtime
