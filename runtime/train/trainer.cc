#include "runtime/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "runtime/comm/collectives.h"
#include "runtime/model/hf_checkpoint.h"
#include "runtime/train/agree.h"
#include "runtime/train/stop_signal.h"

namespace tessera::runtime {
namespace {

constexpr std::uint64_t kDropoutStream = 0xd201;

AttentionConfig attention_config(const TrainInputs& inputs) {
  AttentionConfig config;
  config.dims = inputs.attention_dims();
  config.shape = inputs.mesh;
  config.layout = inputs.layout;
  config.window = static_cast<std::int32_t>(inputs.spec.window);
  config.dropout = static_cast<float>(inputs.spec.dropout);
  return config;
}

AdamwOptions adamw_options(const planner::TrainSpec& spec) {
  return {spec.beta1, spec.beta2, spec.eps, spec.weight_decay};
}

std::uint64_t seed_of(const TrainInputs& inputs) { return static_cast<std::uint64_t>(inputs.spec.seed); }

SampleOrder make_order(const TrainInputs& inputs) {
  Result<SampleOrder> order = training_order(inputs.train_end, inputs.spec.sequence_length, seed_of(inputs));
  TS_REQUIRE(order.ok(), order.status().message());  // load_train_inputs has counted the tokens
  return std::move(order).value();
}

/// PyTorch's clip_grad_norm_: the factor that brings `norm` down to `limit`; 1 where it is below.
double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

}  // namespace

double EvalResult::perplexity() const { return std::exp(loss); }

Result<std::unique_ptr<Trainer>> Trainer::make(Communicator& world, const TrainInputs& inputs,
                                               const Clock& clock) {
  const int context_ranks = inputs.context_ranks();
  TS_REQUIRE(world.size() == context_ranks * inputs.batch.groups, world.size(), context_ranks);
  std::unique_ptr<Communicator> context =
      world.split(world.rank().value / context_ranks, world.rank().value % context_ranks);
  auto attention = TS_TRY(MeshAttention::make(*context, attention_config(inputs), clock));
  std::unique_ptr<Trainer> trainer(
      new Trainer(world, inputs, clock, std::move(context), std::move(attention)));
  TS_TRY(agree(world, trainer->initialise()));
  return trainer;
}

Trainer::Trainer(Communicator& world, const TrainInputs& inputs, const Clock& clock,
                 std::unique_ptr<Communicator> context, std::unique_ptr<MeshAttention> attention)
    : world_(world),
      inputs_(inputs),
      clock_(clock),
      context_(std::move(context)),
      group_(world.rank().value / inputs.context_ranks()),
      layout_(inputs.model),
      attention_(std::make_unique<MeteredAttention>(std::move(attention), attention_config(inputs),
                                                    context_->rank().value)),
      transformer_(inputs.model, layout_, *attention_, inputs.spec.micro_batch,
                   inputs.spec.recompute == "on"),
      parameters_(layout_.total()),
      gradients_(layout_.total()),
      optimizer_(world, layout_, adamw_options(inputs.spec)),
      order_(make_order(inputs)),
      reader_(*inputs.tokens, attention_->positions(), inputs.spec.sequence_length, inputs.spec.micro_batch,
              inputs.spec.document_masking == "on"),
      trace_(clock) {}

Status Trainer::initialise() {
  if (!inputs_.weights_directory.empty()) {
    return read_hf_parameters(inputs_.weights_directory, inputs_.model, layout_, parameters_.data());
  }
  initialize_parameters(inputs_.model, layout_, seed_of(inputs_), parameters_.data());
  return {};
}

StepResult Trainer::step() {
  const Nanoseconds begin = clock_.now();
  if (std::exchange(trace_wanted_, false)) {
    barrier(world_);
    trace_.start();
    attention_->set_observer([this](const AttentionEvent& event) {
      const std::string_view kind = event.kind;
      const bool transfer = kind.starts_with("receive") || kind.starts_with("send");
      const char* lane = transfer ? "transfers" : kind == "wait" ? "exposed wait" : "attention";
      trace_.add(fmt::format("{} {},{}", kind, event.row, event.column), lane, event.start, event.end);
    });
  }

  // Gradients of the sum of losses, micro-batch after micro-batch; in the last one each piece leaves for its
  // owner as soon as the backward pass is through with it.
  std::fill_n(gradients_.data(), gradients_.size(), 0.0F);
  optimizer_.start(gradients_.data());
  LossSum sum;
  const std::int64_t micro_batches = inputs_.batch.micro_batches();
  for (std::int64_t micro = 0; micro < micro_batches; ++micro) {
    if (micro == micro_batches - 1) {
      transformer_.set_gradient_hook(
          [this](std::int64_t offset, std::int64_t count) { optimizer_.gradient_ready(offset, count); });
    }
    const LossSum part = forward_backward(micro);
    sum.loss += part.loss;
    sum.labels += part.labels;
  }
  transformer_.set_gradient_hook({});

  const Nanoseconds reduction = clock_.now();
  double squares = 0;
  {
    const TraceRecorder::Span span(trace_, "reduce gradients", "step");
    squares = optimizer_.finish_reduction();
  }
  synchronisation_wait_s_ += seconds(clock_.now() - reduction);

  // One small sum tells every rank the same about the step.
  const AttentionTotals& attention = attention_->totals();
  const double wait_s = attention.forward.exposed_wait_s + attention.backward.exposed_wait_s;
  const std::int64_t bytes = bytes_sent();
  std::array<double, 6> totals = {sum.loss,
                                  static_cast<double>(sum.labels),
                                  squares,
                                  stop_requested() ? 1.0 : 0.0,
                                  static_cast<double>(bytes - bytes_counted_),
                                  wait_s - wait_counted_s_};
  bytes_counted_ = bytes;
  wait_counted_s_ = wait_s;
  all_reduce(world_, totals, Reduction::kSum);
  // Attention runs once on each context rank, a label is counted once: the sums are those of the batch.
  const double labels = std::max(totals[1], 1.0);

  StepResult result;
  result.step = steps_done_ + 1;
  result.loss = totals[0] / labels;
  result.labels = static_cast<std::int64_t>(totals[1]);
  result.gradient_norm = std::sqrt(totals[2]) / labels;
  result.learning_rate = learning_rate(inputs_.schedule, result.step);
  result.stop = totals[3] > 0;
  result.bytes_sent = static_cast<std::int64_t>(totals[4]);
  result.exposed_wait_s = totals[5] / world_.size();
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    throw DivergedError(
        fmt::format("step {}: the loss is {} and the gradient norm {}. Lower --learning-rate or --clip, "
                    "lengthen --warmup, "
                    "or go on from a checkpoint with --resume latest.",
                    result.step, result.loss, result.gradient_norm));
  }
  {
    const TraceRecorder::Span span(trace_, "update and gather parameters", "step");
    optimizer_.update(parameters_.data(), result.step, result.learning_rate,
                      clip_factor(result.gradient_norm, inputs_.spec.clip) / labels);
  }
  ++steps_done_;
  if (trace_.on()) {
    trace_.stop();
    attention_->set_observer({});
  }
  result.seconds = seconds(clock_.now() - begin);
  return result;
}

LossSum Trainer::forward_backward(std::int64_t micro) {
  const std::int64_t first = first_sample(inputs_.batch, steps_done_, group_, micro);
  std::vector<std::int64_t> first_tokens;
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < inputs_.batch.micro_batch; ++i) {
    samples.push_back(first + i);
    first_tokens.push_back(order_.first_token(first + i));
  }
  // Sample numbers never repeat in a job, so dropout differs from epoch to epoch.
  const MicroBatch batch = reader_.load(first_tokens, samples, derive_key(seed_of(inputs_), kDropoutStream));
  const TraceRecorder::Span span(trace_, "forward and backward", "step");
  return transformer_.forward_backward(parameters_.data(), gradients_.data(), batch);
}

EvalResult Trainer::evaluate() {
  const std::int64_t length = inputs_.spec.sequence_length;
  const std::int64_t held_out = inputs_.tokens->tokens() - inputs_.train_end;
  EvalResult result;
  result.sequences = std::min(inputs_.spec.eval_sequences, std::max<std::int64_t>(held_out - 1, 0) / length);
  const BatchShape& shape = inputs_.batch;
  const std::int64_t per_round = shape.micro_batch * shape.groups;
  std::array<double, 2> totals{};
  for (std::int64_t round = 0; round < result.sequences; round += per_round) {
    std::vector<std::int64_t> numbers;
    std::vector<std::int64_t> first_tokens;
    for (std::int64_t i = 0; i < shape.micro_batch; ++i) {
      const std::int64_t number = round + group_ * shape.micro_batch + i;
      numbers.push_back(number);
      first_tokens.push_back(number < result.sequences ? inputs_.train_end + number * length
                                                       : MicroBatchReader::kEmpty);
    }
    const LossSum part = transformer_.evaluate(parameters_.data(), reader_.load(first_tokens, numbers, 0));
    totals[0] += part.loss;
    totals[1] += static_cast<double>(part.labels);
  }
  all_reduce(world_, totals, Reduction::kSum);
  result.labels = static_cast<std::int64_t>(totals[1]);
  result.loss = totals[0] / std::max(totals[1], 1.0);
  return result;
}

std::int64_t Trainer::bytes_sent() { return world_.traffic().total().bytes_sent; }

StateView Trainer::state() {
  return {parameters_.span(), optimizer_.owned(), optimizer_.first_moment(), optimizer_.second_moment()};
}

Status Trainer::save(const std::string& root, std::int64_t keep) {
  const CheckpointMeta meta{steps_done_, steps_done_ * inputs_.batch.global_batch, seed_of(inputs_),
                            run_identity(inputs_), inputs_.model};
  return save_checkpoint(world_, root, meta, state(), keep);
}

Status Trainer::load(const std::string& directory) {
  const Result<CheckpointMeta> meta = load_checkpoint(directory, run_identity(inputs_), state());
  TS_TRY(agree(world_, meta.ok() ? Status() : meta.status()));
  steps_done_ = meta->step;
  TS_REQUIRE(meta->next_sample == steps_done_ * inputs_.batch.global_batch, meta->next_sample, steps_done_);
  return {};
}

void Trainer::trace_next_step() { trace_wanted_ = true; }

}  // namespace tessera::runtime
