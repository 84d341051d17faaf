#include "runtime/schedule/pipeline.h"

#include <algorithm>
#include <span>

#include "algos/base/require.h"
#include "planner/plan/one_f_one_b.h"

namespace tessera::runtime {
namespace {

constexpr int kActivationTag = 1;
constexpr int kGradientTag = 2;

}  // namespace

int pipeline_slots(const PipelinePlace& place, int micro_batches) {
  return std::min(place.stages - place.stage, micro_batches);
}

Pipeline::Pipeline(TransformerStage& stage, Communicator& comm, const PipelinePlace& place, int micro_batches)
    : stage_(stage),
      comm_(comm),
      place_(place),
      micro_batches_(micro_batches),
      slots_(pipeline_slots(place, micro_batches)),
      inputs_(static_cast<std::size_t>(slots_)),
      output_gradients_(inputs_.size()),
      outputs_(inputs_.size()),
      input_gradients_(inputs_.size()) {
  TS_REQUIRE(0 <= place.stage && place.stage < place.stages && micro_batches >= 1, place.stage, place.stages,
             micro_batches);
  TS_REQUIRE((place.previous.value >= 0) == (place.stage > 0), place.previous, place.stage);
  TS_REQUIRE((place.next.value >= 0) == (place.stage + 1 < place.stages), place.next, place.stage);
}

void Pipeline::receive_input(int micro_batch, int micro_batches) {
  if (place_.stage == 0 || micro_batch >= micro_batches) return;
  const int slot = slot_of(micro_batch);
  inputs_[static_cast<std::size_t>(slot)] = comm_.irecv(std::as_writable_bytes(stage_.input(slot)),
                                                        place_.previous, kActivationTag, Traffic::kPipeline);
}

void Pipeline::forward(const float* parameters, const Load& load, int micro_batch, bool training) {
  const int slot = slot_of(micro_batch);
  const auto at = static_cast<std::size_t>(slot);
  comm_.wait(inputs_[at]);
  comm_.wait(outputs_[at]);  // of the slot's last micro-batch: its buffer is about to be written
  slowed(speed_, [&] { stage_.forward(parameters, load(micro_batch), slot, training); });
  ++forwards_;
  if (place_.next.value < 0) return;
  if (training) {
    output_gradients_[at] = comm_.irecv(std::as_writable_bytes(stage_.output_gradient(slot)), place_.next,
                                        kGradientTag, Traffic::kPipeline);
  }
  outputs_[at] =
      comm_.isend(std::as_bytes(stage_.output(slot)), place_.next, kActivationTag, Traffic::kPipeline);
}

LossSum Pipeline::backward(const float* parameters, float* gradients, const Load& load, int micro_batch) {
  const int slot = slot_of(micro_batch);
  const auto at = static_cast<std::size_t>(slot);
  comm_.wait(output_gradients_[at]);
  comm_.wait(input_gradients_[at]);
  LossSum loss;
  slowed(speed_, [&] { loss = stage_.backward(parameters, gradients, load(micro_batch), slot); });
  ++backwards_;
  if (place_.stage > 0) {
    input_gradients_[at] = comm_.isend(std::as_bytes(stage_.input_gradient(slot)), place_.previous,
                                       kGradientTag, Traffic::kPipeline);
  }
  return loss;
}

LossSum Pipeline::train(const float* parameters, float* gradients, const Load& load,
                        const GradientHook& ready) {
  LossSum sum;
  for (int k = 0; k < slots_; ++k) receive_input(k, micro_batches_);
  for (const planner::PipelineSlot& slot :
       planner::one_f_one_b(place_.stages, place_.stage, micro_batches_)) {
    if (!slot.backward) {
      forward(parameters, load, slot.micro_batch, true);
      continue;
    }
    if (slot.micro_batch == micro_batches_ - 1) stage_.set_gradient_hook(ready);
    const LossSum part = backward(parameters, gradients, load, slot.micro_batch);
    sum.loss += part.loss;
    sum.labels += part.labels;
    receive_input(slot.micro_batch + slots_, micro_batches_);
  }
  stage_.set_gradient_hook({});
  comm_.wait_all(outputs_);
  comm_.wait_all(input_gradients_);
  return sum;
}

LossSum Pipeline::evaluate(const float* parameters, int micro_batches, const Load& load) {
  LossSum sum;
  for (int k = 0; k < slots_; ++k) receive_input(k, micro_batches);
  for (int k = 0; k < micro_batches; ++k) {
    forward(parameters, load, k, false);
    if (place_.next.value < 0) {
      const LossSum part = stage_.loss(parameters, load(k));
      sum.loss += part.loss;
      sum.labels += part.labels;
    }
    receive_input(k + slots_, micro_batches);
  }
  comm_.wait_all(outputs_);
  return sum;
}

PipelineVolume Pipeline::volume() const {
  const ModelSlice& slice = stage_.slice();
  const auto block_bytes = static_cast<std::int64_t>(stage_.input(0).size_bytes());
  const bool first = place_.stage == 0;
  const bool last = place_.stage + 1 == place_.stages;
  PipelineVolume volume;
  volume.pipeline = ((last ? 0 : forwards_) + (first ? 0 : backwards_)) * block_bytes;
  const std::int64_t edges = (slice.embedding ? 1 : 0) + (slice.head ? 1 : 0);
  const std::int64_t transfers =
      (forwards_ + backwards_) * (4 * slice.layers + edges) + 3 * stage_.recomputations();
  volume.tensor = transfers * (slice.tensor_ranks - 1) * block_bytes;
  return volume;
}

}  // namespace tessera::runtime
