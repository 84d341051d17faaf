/// One rank's share of training: its part of the parameters, gradients, optimizer state, and the step that
/// changes them. What the part is, the plan says (planner/plan/plan.h); this executes it.
///
/// Step      the group's micro-batches run through the pipeline (runtime/schedule/pipeline.h); in the last
/// one each
///           piece of the gradients leaves for its owners as soon as the backward pass is through with it;
///           one small sum tells every rank the loss; everything is divided once by the global label count.
/// Result    the loss curve of any plan equals that of one rank within the rounding of sums taken in another
///           order; on the same plan it repeats bit for bit.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/communicator.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/optim/sharded_adamw.h"
#include "runtime/parallel/job_groups.h"
#include "runtime/schedule/pipeline.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/memory_estimate.h"
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
  bool agreed = false;          // every rank said yes to what ask_ranks() asks
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
  /// This rank's own, in the order of layout().
  [[nodiscard]] const float* parameters() const { return parameters_.data(); }
  [[nodiscard]] const ParameterLayout& layout() const { return layout_; }
  /// Of the whole model, as in a checkpoint.
  [[nodiscard]] const ParameterLayout& full_layout() const { return full_layout_; }
  /// Collective: the whole model's parameters on rank 0, in the order of full_layout(); nothing on other
  /// ranks. `memory` holds them where this rank does not.
  [[nodiscard]] std::span<const float> gather_parameters(kernels::Buffer<float>& memory);
  [[nodiscard]] const MeteredAttention& attention() const { return *attention_; }
  /// What `rank` will allocate; of this rank. Pure.
  [[nodiscard]] static MemoryEstimate memory(const TrainInputs& inputs, Rank rank);
  [[nodiscard]] MemoryEstimate memory() const { return memory(inputs_, world_.rank()); }
  [[nodiscard]] const Pipeline& pipeline() const { return pipeline_; }
  [[nodiscard]] const planner::RankPlace& place() const { return groups_.place; }
  /// The pieces of its flat buffer that this rank updates; the moments lie in this order.
  [[nodiscard]] std::span<const FlatRange> owned() const { return optimizer_.owned(); }
  [[nodiscard]] ShardedAdamw::StepBytes optimizer_bytes() const { return optimizer_.step_bytes(); }
  /// Seconds this rank took to finish the gradient sums after its backward passes.
  [[nodiscard]] double synchronisation_wait_s() const { return synchronisation_wait_s_; }

  /// A question that each rank answers in the sum of every step; StepResult::agreed has the answer of all.
  void ask_ranks(std::function<bool()> question) { question_ = std::move(question); }

  /// The training state in this rank's memory: layout() says what is where, owned() of which the moments are.
  struct State {
    float* parameters = nullptr;
    float* first_moment = nullptr;
    float* second_moment = nullptr;
  };
  [[nodiscard]] State state_memory() {
    return {parameters_.data(), optimizer_.first_moment().data(), optimizer_.second_moment().data()};
  }
  /// What goes with it.
  [[nodiscard]] recovery::StateMeta meta(std::int64_t attempt) const;
  /// Step 0 again, whatever the memory holds. Errors are this rank's.
  [[nodiscard]] Status start_over();
  /// The memory holds the state that `meta` belongs to.
  void go_on_from(const recovery::StateMeta& meta);

  [[nodiscard]] Status save(const std::string& root, std::int64_t keep);
  /// Collective. Leaves the training state undefined on failure.
  [[nodiscard]] Status load(const std::string& directory);

  /// Called with the number, in this rank's group, of each micro-batch that it begins.
  void observe_micro_batches(std::function<void(std::int64_t)> observer) {
    micro_batch_observer_ = std::move(observer);
  }

  /// Records the next step of this rank.
  void trace_next_step();
  [[nodiscard]] const TraceRecorder& trace() const { return trace_; }

 private:
  Trainer(Communicator& world, const TrainInputs& inputs, const Clock& clock, JobGroups groups,
          std::unique_ptr<MeshAttention> attention);
  Status initialise();
  /// The training state as a checkpoint has it: this rank's pieces of the whole model's flat buffer.
  [[nodiscard]] std::vector<StatePiece> state();
  [[nodiscard]] MicroBatch load_micro_batch(std::int64_t micro);
  [[nodiscard]] std::int64_t bytes_sent();

  Communicator& world_;
  const TrainInputs& inputs_;
  const Clock& clock_;
  JobGroups groups_;
  ParameterLayout full_layout_;
  ParameterLayout layout_;
  std::unique_ptr<MeteredAttention> attention_;
  TransformerStage stage_;
  DeviceSpeed speed_;
  Pipeline pipeline_;
  kernels::Buffer<float> parameters_;
  kernels::Buffer<float> gradients_;
  ShardedAdamw optimizer_;
  kernels::Buffer<float> gap_zeros_;  // what a checkpoint has between parameters
  SampleOrder order_;
  MicroBatchReader reader_;
  TraceRecorder trace_;
  std::function<void(std::int64_t)> micro_batch_observer_;
  std::function<bool()> question_;
  bool trace_wanted_ = false;
  std::int64_t steps_done_ = 0;
  std::int64_t bytes_counted_ = 0;
  double wait_counted_s_ = 0;
  double synchronisation_wait_s_ = 0;
};

}  // namespace tessera::runtime
