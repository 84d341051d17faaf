/// One stage's part of a training step: runs its micro-batches forward and backward in the order of 1F1B
/// (planner/plan/one_f_one_b.h) and moves activations and their gradients between stages.
///
/// Transfers are asynchronous: a receive is posted as soon as its buffer is free, a send goes on while the
/// stage computes. Stage s of P holds at most min(P - s, m) micro-batches, each in a slot of the
/// TransformerStage; micro-batch k has slot k mod that number.
///
/// Example, P = 2, m = 3     stage 0:  F0 F1 B0 F2 B1 B2       slots 0 1 . 0 . .
///                           stage 1:  F0 B0 F1 B1 F2 B2       slot  0 throughout
///
/// Traffic   each boundary moves S * D floats forward and as many backward per micro-batch and rank, S the
/// rows
///           of the rank's block with padding (tensor_parallel.h). Kind kPipeline.
/// Result    the sums of one rank that runs the micro-batches in their order, bit for bit: stages add nothing
///           to each other's numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/schedule/device_speed.h"

namespace tessera::runtime {

struct PipelinePlace {
  int stages = 1;
  int stage = 0;
  Rank previous{-1};  // who holds the same rows of the stage before, and after
  Rank next{-1};
};

/// Micro-batches that a stage holds at a time.
[[nodiscard]] int pipeline_slots(const PipelinePlace& place, int micro_batches);

/// Bytes sent by this rank.
struct PipelineVolume {
  std::int64_t pipeline = 0;  // kPipeline
  std::int64_t tensor = 0;    // kTensor, gathers and reductions of the layers and the stage's edges
};

class Pipeline {
 public:
  /// `stage` must have pipeline_slots(place, micro_batches) slots; it and `comm`, to whose ranks `place`
  /// refers, must outlive this.
  Pipeline(TransformerStage& stage, Communicator& comm, const PipelinePlace& place, int micro_batches);
  /// Slows the passes of this stage; must outlive this. Null: none.
  void set_speed(DeviceSpeed* speed) { speed_ = speed; }

  /// The stage's view of micro-batch k of this group, valid until the next call.
  using Load = std::function<MicroBatch(int micro_batch)>;
  using GradientHook = std::function<void(std::int64_t offset, std::int64_t count)>;

  /// All micro-batches, forward and backward; gradients of the sum of losses are added into `gradients`.
  /// During the last backward pass `ready` is called as TransformerStage's gradient hook; may be null. The
  /// loss is that of the last stage, zero on others. Collective over the stages; throws CommError.
  LossSum train(const float* parameters, float* gradients, const Load& load, const GradientHook& ready);

  /// `micro_batches` forward passes, any number. Collective over the stages.
  LossSum evaluate(const float* parameters, int micro_batches, const Load& load);

  /// By formula, of the passes run so far. Of one transfer of the rank's rows, S * D floats to each of t - 1
  /// tensor ranks or one neighbour, a micro-batch takes
  ///   forward    4 per layer, 1 for the embedding, 1 for the head;    1 to the next stage
  ///   backward   4 per layer, 1 for the embedding, 1 for the head;    1 to the previous stage
  ///   recomputed layer  3, unless its results are still there (TransformerStage::recomputations)
  [[nodiscard]] PipelineVolume volume() const;

 private:
  [[nodiscard]] int slot_of(int micro_batch) const { return micro_batch % slots_; }
  void receive_input(int micro_batch, int micro_batches);
  void forward(const float* parameters, const Load& load, int micro_batch, bool training);
  LossSum backward(const float* parameters, float* gradients, const Load& load, int micro_batch);

  TransformerStage& stage_;
  Communicator& comm_;
  DeviceSpeed* speed_ = nullptr;
  PipelinePlace place_;
  int micro_batches_;
  int slots_;
  std::int64_t forwards_ = 0;
  std::int64_t backwards_ = 0;
  // Per slot; done when default-constructed.
  std::vector<Request> inputs_;
  std::vector<Request> output_gradients_;
  std::vector<Request> outputs_;
  std::vector<Request> input_gradients_;
};

}  // namespace tessera::runtime
