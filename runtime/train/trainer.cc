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
#include "runtime/train/plan_shards.h"
#include "runtime/train/stop_signal.h"

namespace tessera::runtime {
namespace {

constexpr std::uint64_t kDropoutStream = 0xd201;

AttentionConfig attention_config(const TrainInputs& inputs, int tensor_rank) {
  AttentionConfig config;
  config.dims = inputs.attention_dims();
  config.shape = inputs.plan.context;
  config.layout = inputs.layout;
  config.window = static_cast<std::int32_t>(inputs.spec.window);
  config.dropout = static_cast<float>(inputs.spec.dropout);
  config.first_head = tensor_rank * config.dims.heads;
  config.head_pieces = suggested_head_pieces(config.shape, config.dims.kv_heads);
  return config;
}

const planner::DeviceGroup& group_of(const TrainInputs& inputs, const planner::RankPlace& place) {
  return inputs.plan.groups[static_cast<std::size_t>(place.group)];
}

PipelinePlace pipeline_place(const TrainInputs& inputs, const planner::RankPlace& place, Rank previous,
                             Rank next) {
  return {static_cast<int>(group_of(inputs, place).stages.size()), place.stage, previous, next};
}

PipelinePlace pipeline_place(const TrainInputs& inputs, const JobGroups& groups) {
  return pipeline_place(inputs, groups.place, groups.previous, groups.next);
}

int micro_batches_of(const TrainInputs& inputs, const planner::RankPlace& place) {
  return static_cast<int>(group_of(inputs, place).micro_batches);
}

StageConfig stage_config(const TrainInputs& inputs, const planner::RankPlace& place) {
  const auto& stages = group_of(inputs, place).stages;
  StageConfig config;
  config.slice = slice_of(inputs.plan, place);
  config.batch = inputs.plan.micro_batch;
  config.slots =
      pipeline_slots(pipeline_place(inputs, place, Rank(-1), Rank(-1)), micro_batches_of(inputs, place));
  config.recompute = stages[static_cast<std::size_t>(place.stage)].recompute;
  return config;
}

/// The flat buffer cut by who else holds it: segments in the order they have there, neighbours with the same
/// owners as one range.
std::vector<ReplicaRange> replica_ranges(const ParameterLayout& layout, const ModelSlice& slice,
                                         const JobGroups& groups) {
  std::vector<ReplicaRange> ranges;
  for (const SegmentReplicas& part : groups.segments) {
    const FlatRange range = segment_range(layout, slice, part.segment);
    if (range.count > 0) ranges.push_back({range, part.replicas.get()});
  }
  std::ranges::sort(ranges, {}, [](const ReplicaRange& part) { return part.range.offset; });
  std::vector<ReplicaRange> merged;
  for (const ReplicaRange& part : ranges) {
    if (!merged.empty() && merged.back().replicas == part.replicas) {
      merged.back().range.count += part.range.count;
    } else {
      merged.push_back(part);
    }
  }
  return merged;
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
  JobGroups groups = make_job_groups(world, inputs.plan);
  Result<std::unique_ptr<MeshAttention>> attention =
      MeshAttention::make(*groups.context, attention_config(inputs, groups.place.tensor), clock);
  TS_TRY(agree(world, attention.ok() ? Status() : attention.status()));
  std::unique_ptr<Trainer> trainer(
      new Trainer(world, inputs, clock, std::move(groups), std::move(attention).value()));
  TS_TRY(agree(world, trainer->initialise()));
  return trainer;
}

Trainer::Trainer(Communicator& world, const TrainInputs& inputs, const Clock& clock, JobGroups groups,
                 std::unique_ptr<MeshAttention> attention)
    : world_(world),
      inputs_(inputs),
      clock_(clock),
      groups_(std::move(groups)),
      full_layout_(inputs.model),
      layout_(inputs.model, slice_of(inputs.plan, groups_.place)),
      attention_(std::make_unique<MeteredAttention>(std::move(attention),
                                                    attention_config(inputs, groups_.place.tensor),
                                                    groups_.context->rank().value)),
      stage_(inputs.model, layout_, *attention_, groups_.tensor.get(), stage_config(inputs, groups_.place)),
      speed_(inputs.speeds[static_cast<std::size_t>(world.rank().value)], world),
      pipeline_(stage_, world, pipeline_place(inputs, groups_), micro_batches_of(inputs, groups_.place)),
      parameters_(layout_.total()),
      gradients_(layout_.total()),
      optimizer_(replica_ranges(layout_, slice_of(inputs.plan, groups_.place), groups_), groups_.tensor.get(),
                 layout_, adamw_options(inputs.spec)),
      gap_zeros_(kParameterAlignment),
      order_(make_order(inputs)),
      reader_(*inputs.tokens, attention_->positions(), inputs.spec.sequence_length, inputs.plan.micro_batch,
              inputs.spec.document_masking == "on"),
      trace_(clock) {
  if (speed_.speed() < 1) pipeline_.set_speed(&speed_);
}

MemoryEstimate Trainer::memory(const TrainInputs& inputs, Rank rank) {
  const planner::RankPlace place = planner::rank_places(inputs.plan)[static_cast<std::size_t>(rank.value)];
  const StageConfig stage = stage_config(inputs, place);
  MemoryQuestion question;
  question.model = inputs.model;
  question.slice = stage.slice;
  question.slots = stage.slots;
  question.recompute = stage.recompute;
  question.attention = attention_config(inputs, place.tensor);
  question.context_rank = place.cell;
  question.threads = static_cast<int>(inputs.spec.threads);
  const ParameterLayout layout(inputs.model, stage.slice);
  question.owned = 0;
  for (const planner::Segment& segment : planner::derive_segments(inputs.plan)) {
    const std::vector<int>& mine = segment.owners[static_cast<std::size_t>(place.group)];
    if (std::ranges::find(mine, place.stage) == mine.end()) continue;
    std::size_t owners = 0;
    for (const std::vector<int>& stages : segment.owners) owners += stages.size();
    const auto count = static_cast<double>(segment_range(layout, stage.slice, segment).count);
    question.owned += count / static_cast<double>(layout.total()) /
                      static_cast<double>(owners * static_cast<std::size_t>(inputs.context_ranks()));
  }
  return memory_estimate(question);
}

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
  {
    const TraceRecorder::Span span(trace_, "forward and backward", "step");
    sum = pipeline_.train(
        parameters_.data(), gradients_.data(), [this](int micro) { return load_micro_batch(micro); },
        [this](std::int64_t offset, std::int64_t count) { optimizer_.gradient_ready(offset, count); });
  }

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
  std::array<double, 7> totals = {sum.loss,
                                  static_cast<double>(sum.labels),
                                  squares,
                                  stop_requested() ? 1.0 : 0.0,
                                  static_cast<double>(bytes - bytes_counted_),
                                  wait_s - wait_counted_s_,
                                  question_ && question_() ? 1.0 : 0.0};
  bytes_counted_ = bytes;
  wait_counted_s_ = wait_s;
  all_reduce(world_, totals, Reduction::kSum);
  // A label is counted once, on the last stage's first tensor rank: the sums are those of the batch.
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
  result.agreed = totals[6] == world_.size();
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    throw DivergedError(
        fmt::format("step {}: the loss is {} and the gradient norm {}. Lower --learning-rate or --clip, "
                    "lengthen --warmup, "
                    "or go on from a checkpoint with --resume latest.",
                    result.step, result.loss, result.gradient_norm));
  }
  {
    const TraceRecorder::Span span(trace_, "update and gather parameters", "step");
    slowed(speed_.speed() < 1 ? &speed_ : nullptr, [&] {
      optimizer_.update(parameters_.data(), result.step, result.learning_rate,
                        clip_factor(result.gradient_norm, inputs_.spec.clip) / labels);
    });
  }
  ++steps_done_;
  if (trace_.on()) {
    trace_.stop();
    attention_->set_observer({});
  }
  result.seconds = seconds(clock_.now() - begin);
  return result;
}

MicroBatch Trainer::load_micro_batch(std::int64_t micro) {
  if (micro_batch_observer_) micro_batch_observer_(micro);
  const std::int64_t first = first_sample(inputs_.plan, steps_done_, groups_.place.group, micro);
  std::vector<std::int64_t> first_tokens;
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < inputs_.plan.micro_batch; ++i) {
    samples.push_back(first + i);
    first_tokens.push_back(order_.first_token(first + i));
  }
  // Sample numbers never repeat in a job, so dropout differs from epoch to epoch.
  return reader_.load(first_tokens, samples, derive_key(seed_of(inputs_), kDropoutStream));
}

EvalResult Trainer::evaluate() {
  const std::int64_t length = inputs_.spec.sequence_length;
  const std::int64_t held_out = inputs_.tokens->tokens() - inputs_.train_end;
  EvalResult result;
  result.sequences = std::min(inputs_.spec.eval_sequences, std::max<std::int64_t>(held_out - 1, 0) / length);
  // Micro-batches are dealt as in a step, so that each group gets the share the plan gives it; of the last
  // round a group runs what has a sequence in it.
  const planner::Plan& plan = inputs_.plan;
  const std::int64_t needed = (result.sequences + plan.micro_batch - 1) / plan.micro_batch;
  std::vector<std::int64_t> own;
  for (std::int64_t round = 0; round * plan.micro_batches() < needed; ++round) {
    const std::int64_t first = round * plan.micro_batches() + plan.first_micro_batch(groups_.place.group);
    for (std::int64_t m = first; m < first + group_of(inputs_, groups_.place).micro_batches; ++m) {
      if (m < needed) own.push_back(m);
    }
  }
  const LossSum sum = pipeline_.evaluate(parameters_.data(), static_cast<int>(own.size()), [&](int k) {
    std::vector<std::int64_t> numbers;
    std::vector<std::int64_t> first_tokens;
    for (std::int64_t i = 0; i < plan.micro_batch; ++i) {
      const std::int64_t number = own[static_cast<std::size_t>(k)] * plan.micro_batch + i;
      numbers.push_back(number);
      first_tokens.push_back(number < result.sequences ? inputs_.train_end + number * length
                                                       : MicroBatchReader::kEmpty);
    }
    return reader_.load(first_tokens, numbers, 0);
  });
  std::array<double, 2> totals = {sum.loss, static_cast<double>(sum.labels)};
  all_reduce(world_, totals, Reduction::kSum);
  result.labels = static_cast<std::int64_t>(totals[1]);
  result.loss = totals[0] / std::max(totals[1], 1.0);
  return result;
}

std::int64_t Trainer::bytes_sent() { return world_.traffic().total().bytes_sent; }

std::vector<StatePiece> Trainer::state() {
  // What each float of the flat buffer is in the whole model's, run by run.
  std::vector<StatePiece> pieces;
  const auto owned = optimizer_.owned();
  for (const ParameterInfo& info : layout_.parameters()) {
    const std::int64_t whole = full_layout_.find(info.name).offset;
    const bool on_all_tensor_ranks = inputs_.plan.tensor_parallel > 1 && info.cut_dim < 0;
    for (const ParameterInfo::Run& run : info.runs()) {
      StatePiece piece{{whole + run.full_index, run.count}, parameters_.data() + run.offset};
      piece.saved = false;
      pieces.push_back(piece);
      std::int64_t moment = 0;
      for (const FlatRange& mine : owned) {
        const std::int64_t first = std::max(mine.offset, run.offset);
        const std::int64_t last = std::min(mine.offset + mine.count, run.offset + run.count);
        if (first < last) {
          StatePiece part{{whole + run.full_index + (first - run.offset), last - first},
                          parameters_.data() + first,
                          optimizer_.first_moment().data() + moment + (first - mine.offset),
                          optimizer_.second_moment().data() + moment + (first - mine.offset)};
          part.saved = !on_all_tensor_ranks || groups_.place.tensor == 0;
          pieces.push_back(part);
        }
        moment += mine.count;
      }
    }
  }
  if (world_.rank() != Rank(0)) return pieces;
  std::int64_t end = 0;
  const auto add_gap = [&](std::int64_t begin) {
    if (begin == end) return;
    pieces.push_back({{end, begin - end}, gap_zeros_.data(), gap_zeros_.data(), gap_zeros_.data()});
  };
  for (const ParameterInfo& info : full_layout_.parameters()) {
    add_gap(info.offset);
    end = info.offset + info.count;
  }
  add_gap(full_layout_.total());
  return pieces;
}

recovery::StateMeta Trainer::meta(std::int64_t attempt) const {
  return {steps_done_,           attempt,      steps_done_ * inputs_.plan.global_batch, seed_of(inputs_),
          run_identity(inputs_), inputs_.model};
}

Status Trainer::start_over() {
  steps_done_ = 0;
  std::ranges::fill(optimizer_.first_moment(), 0.0F);
  std::ranges::fill(optimizer_.second_moment(), 0.0F);
  return initialise();
}

void Trainer::go_on_from(const recovery::StateMeta& meta) {
  TS_REQUIRE(meta.next_sample == meta.step * inputs_.plan.global_batch, meta.next_sample, meta.step);
  steps_done_ = meta.step;
}

Status Trainer::save(const std::string& root, std::int64_t keep) {
  return save_checkpoint(world_, root, meta(0), {full_layout_.total(), state()}, keep);
}

Status Trainer::load(const std::string& directory) {
  const Result<CheckpointMeta> meta =
      load_checkpoint(directory, run_identity(inputs_), {full_layout_.total(), state()});
  TS_TRY(agree(world_, meta.ok() ? Status() : meta.status()));
  go_on_from(meta.value());
  return {};
}

std::span<const float> Trainer::gather_parameters(kernels::Buffer<float>& memory) {
  const planner::Plan& plan = inputs_.plan;
  const bool first = world_.rank() == Rank(0);
  const auto stages = static_cast<int>(plan.groups.front().stages.size());
  if (stages == 1 && plan.tensor_parallel == 1) return first ? parameters_.span() : std::span<const float>();
  if (first) memory = kernels::Buffer<float>(full_layout_.total());
  for (int s = 0; s < stages; ++s) {
    for (int t = 0; t < plan.tensor_parallel; ++t) {
      const Rank holder = planner::rank_of(plan, 0, s, 0, t);
      if (first) {
        const ParameterLayout layout(inputs_.model, slice_of(plan, 0, s, t));
        kernels::Buffer<float> theirs(holder == Rank(0) ? 0 : layout.total());
        if (holder != Rank(0)) {
          Request receive = world_.irecv(std::as_writable_bytes(theirs.span()), holder, 0, Traffic::kControl);
          world_.wait(receive);
        }
        const float* from = holder == Rank(0) ? parameters_.data() : theirs.data();
        for (const ParameterInfo& info : layout.parameters()) {
          float* to = memory.data() + full_layout_.find(info.name).offset;
          for (const ParameterInfo::Run& run : info.runs()) {
            std::copy_n(from + run.offset, run.count, to + run.full_index);
          }
        }
      } else if (holder == world_.rank()) {
        Request send = world_.isend(std::as_bytes(parameters_.span()), Rank(0), 0, Traffic::kControl);
        world_.wait(send);
      }
    }
  }
  return first ? memory.span() : std::span<const float>();
}

void Trainer::trace_next_step() { trace_wanted_ = true; }

}  // namespace tessera::runtime
