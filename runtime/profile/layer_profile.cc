#include "runtime/profile/layer_profile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "algos/base/processor_time.h"
#include "algos/base/random.h"
#include "algos/base/require.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/comm/collectives.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/optim/sharded_adamw.h"
#include "runtime/schedule/device_speed.h"
#include "runtime/train/memory_estimate.h"

namespace tessera::runtime {
namespace {

using planner::LayerKind;
using planner::Recompute;

constexpr int kLayers = 3;

/// Notes when each layer of a forward pass reaches attention.
class MarkedAttention final : public MeshAttention {
 public:
  explicit MarkedAttention(std::unique_ptr<MeshAttention> attention) : attention_(std::move(attention)) {}

  void forward(const float* q, const float* k, const float* v, float* o, float* lse,
               const AttentionCall& call) override {
    marks.push_back(thread_processor_s());
    attention_->forward(q, k, v, o, lse, call);
  }
  void backward(const float* q, const float* k, const float* v, const float* o, const float* lse,
                const float* d_o, float* dq, float* dk, float* dv, const AttentionCall& call) override {
    attention_->backward(q, k, v, o, lse, d_o, dq, dk, dv, call);
  }
  [[nodiscard]] std::span<const std::int32_t> positions() const override { return attention_->positions(); }
  [[nodiscard]] const AttentionTimes& last_times() const override { return attention_->last_times(); }
  void set_observer(std::function<void(const AttentionEvent&)> observer) override {
    attention_->set_observer(std::move(observer));
  }

  std::vector<double> marks;  // processor seconds

 private:
  std::unique_ptr<MeshAttention> attention_;
};

enum Quantity : std::size_t {
  kDecoderForward,
  kDecoderBackward,
  kEmbeddingForward,
  kEmbeddingBackward,
  kHeadBackward,
  kUpdate,
  kQuantities
};
constexpr std::array<const char*, kQuantities> kNames = {
    "decoder forward", "decoder backward", "embedding forward", "embedding backward", "head", "update"};
using Times = std::array<double, kQuantities>;

AttentionConfig attention_config(const LayerQuestion& question, int tensor_rank) {
  const int t = question.tensor_parallel;
  AttentionConfig config;
  config.dims = {question.micro_batch, question.sequence_length, question.model.heads / t,
                 question.model.kv_heads / t, question.model.head_dim};
  config.first_head = tensor_rank * config.dims.heads;
  return config;
}

ModelSlice slice_of(const LayerQuestion& question, int layers, bool edges, int tensor_rank) {
  ModelSlice slice;
  slice.layers = layers;
  slice.embedding = edges;
  slice.head = edges;
  slice.tensor_rank = tensor_rank;
  slice.tensor_ranks = question.tensor_parallel;
  return slice;
}

std::int64_t floats_of(const ParameterLayout& layout, std::string_view prefix) {
  std::int64_t floats = 0;
  for (const ParameterInfo& info : layout.parameters()) {
    if (info.name.starts_with(prefix)) floats += info.count;
  }
  return floats;
}

/// One rank's stage with all it needs to run.
class Bench {
 public:
  Bench(const LayerQuestion& question, Communicator& solo, Communicator* tensor,
        std::unique_ptr<MeshAttention> attention)
      : question_(question),
        tensor_(tensor),
        rank_(tensor == nullptr ? 0 : tensor->rank().value),
        attention_(std::move(attention)),
        slice_(slice_of(question, kLayers, true, rank_)),
        layout_(question.model, slice_),
        stage_(question.model, layout_, attention_, tensor, config(kLayers, true, 1, question.recompute)),
        ranges_{ReplicaRange{{0, layout_.total()}, &solo}},
        optimizer_(ranges_, tensor, layout_, {}),
        speed_(question.speed, solo),
        parameters_(layout_.total()),
        gradients_(layout_.total()) {
    initialize_parameters(question.model, layout_, 1, parameters_.data());
    const std::int64_t rows = question.micro_batch * question.sequence_length;
    const auto vocabulary = static_cast<double>(question.model.vocab_size);
    for (std::int64_t i = 0; i <= rows; ++i) {
      tokens_.push_back(static_cast<std::int32_t>(uniform(7, static_cast<std::uint64_t>(i)) * vocabulary));
    }
    batch_.tokens = std::span(tokens_).first(static_cast<std::size_t>(rows));
    batch_.labels = std::span(tokens_).last(static_cast<std::size_t>(rows));
    stage_.set_gradient_hook([this](std::int64_t, std::int64_t) { passed_.push_back(thread_processor_s()); });
  }

  /// Adds the processor seconds of one forward and backward pass and one update.
  void run(Times& sum) {
    attention_.marks.clear();
    passed_.clear();
    const double begin = thread_processor_s();
    speed_.run([&] { stage_.forward(parameters_.data(), batch_, 0, true); });
    const double turn = thread_processor_s();
    const std::vector<double> marks = attention_.marks;
    speed_.run([&] { (void)stage_.backward(parameters_.data(), gradients_.data(), batch_, 0); });
    TS_REQUIRE(marks.size() == kLayers && passed_.size() == kLayers + 2, marks.size(), passed_.size());
    const double layer = (marks.back() - marks.front()) / (kLayers - 1);
    sum[kDecoderForward] += layer;
    sum[kEmbeddingForward] += turn - begin - kLayers * layer;
    sum[kHeadBackward] += passed_[0] - turn;
    sum[kDecoderBackward] += (passed_[kLayers] - passed_[1]) / (kLayers - 1);
    sum[kEmbeddingBackward] += passed_[kLayers + 1] - passed_[kLayers];

    optimizer_.start(gradients_.data());
    optimizer_.gradient_ready(0, layout_.total());
    const double sums = thread_processor_s();
    (void)optimizer_.finish_reduction();
    speed_.run([&] { optimizer_.update(parameters_.data(), 1, 0, 1); });  // at rate 0 nothing changes
    sum[kUpdate] += thread_processor_s() - sums;
    std::fill_n(gradients_.data(), gradients_.size(), 0.0F);
  }

  [[nodiscard]] std::vector<planner::ProfileLayer> rows() const {
    const MemoryEstimate extra = estimate();
    const auto activation = [&](Recompute recompute) {
      const std::int64_t two = buffers(2, 2, recompute) - buffers(2, 1, recompute);
      const std::int64_t one = buffers(1, 2, recompute) - buffers(1, 1, recompute);
      return static_cast<double>(two - one);
    };
    const std::int64_t t = question_.tensor_parallel;
    const std::int64_t own_rows = (question_.micro_batch * question_.sequence_length + t - 1) / t;
    const auto edges = static_cast<double>(3 * 4 * own_rows * question_.model.hidden_size);
    const double workspace = static_cast<double>(buffers(1, 1, Recompute::kNone)) - edges -
                             activation(Recompute::kNone) +
                             static_cast<double>(extra.attention + extra.kernels);
    planner::ProfileLayer row;
    row.tensor_parallel = question_.tensor_parallel;
    row.micro_batch = question_.micro_batch;
    row.sequence_length = question_.sequence_length;
    row.recompute = planner::recompute_name(question_.recompute);
    row.workspace_bytes = workspace;
    row.activation_bytes = activation(question_.recompute);
    row.parameter_bytes = 4.0 * static_cast<double>(floats_of(layout_, "model.layers.0."));
    std::vector<planner::ProfileLayer> rows = {row};
    if (question_.recompute != Recompute::kNone) return rows;
    row.activation_bytes = 0;
    row.kind = LayerKind::kHead;
    row.workspace_bytes = workspace + static_cast<double>(extra.logits);
    const std::int64_t table = floats_of(layout_, "model.embed_tokens.");
    row.parameter_bytes = 4.0 * static_cast<double>(table + floats_of(layout_, "model.norm."));
    rows.push_back(row);
    row.kind = LayerKind::kEmbedding;
    row.workspace_bytes = 0;
    row.parameter_bytes = 4.0 * static_cast<double>(table);
    rows.push_back(row);
    return rows;
  }
  [[nodiscard]] double parameter_bytes() const { return 4.0 * static_cast<double>(layout_.total()); }

 private:
  [[nodiscard]] StageConfig config(int layers, bool edges, int slots, Recompute recompute) const {
    return {slice_of(question_, layers, edges, rank_), question_.micro_batch, slots,
            std::vector<Recompute>(static_cast<std::size_t>(layers), recompute)};
  }
  /// Bytes of a stage in the middle of a pipeline.
  [[nodiscard]] std::int64_t buffers(int layers, int slots, Recompute recompute) const {
    const StageConfig stage = config(layers, false, slots, recompute);
    const ParameterLayout layout(question_.model, stage.slice);
    return TransformerStage(question_.model, layout, attention_, tensor_, stage).buffer_bytes();
  }
  [[nodiscard]] MemoryEstimate estimate() const {
    MemoryQuestion memory;
    memory.model = question_.model;
    memory.slice = slice_;
    memory.recompute.assign(kLayers, Recompute::kNone);
    memory.attention = attention_config(question_, rank_);
    memory.threads = question_.threads;
    return memory_estimate(memory);
  }

  const LayerQuestion& question_;
  Communicator* tensor_;
  int rank_;
  mutable MarkedAttention attention_;
  ModelSlice slice_;
  ParameterLayout layout_;
  TransformerStage stage_;
  std::array<ReplicaRange, 1> ranges_;
  ShardedAdamw optimizer_;
  DeviceSpeed speed_;
  kernels::Buffer<float> parameters_;
  kernels::Buffer<float> gradients_;
  std::vector<std::int32_t> tokens_;
  MicroBatch batch_;
  std::vector<double> passed_;  // processor seconds
};

/// Passes of a round: the same on every rank, since tensor ranks run them together.
int passes_of_a_round(Communicator& world, double pass_s, double round_s) {
  std::array<double, 1> slowest = {pass_s};
  all_reduce(world, slowest, Reduction::kMax);
  return std::clamp(static_cast<int>(std::ceil(round_s / std::max(slowest[0], 1e-6))), 1, 10000);
}

}  // namespace

Result<LayerProfile> profile_layers(Communicator& world, const LayerQuestion& asked, const Clock& clock) {
  TS_TRY(check_tensor_ranks(asked.model, asked.tensor_parallel));
  if (asked.tensor_parallel > world.size()) {
    return bad_input({"--tensor-parallel", "", fmt::format("{}", asked.tensor_parallel),
                      fmt::format("at most the number of ranks, {}", world.size()), "start more ranks"});
  }
  LayerQuestion question = asked;
  question.model.layers = kLayers;
  const int groups = world.size() / question.tensor_parallel;
  const int group = std::min(world.rank().value / question.tensor_parallel, groups);  // the last waits
  const std::unique_ptr<Communicator> tensor = world.split(group, world.rank().value);
  const std::unique_ptr<Communicator> solo = world.split(world.rank().value, 0);

  std::optional<Bench> bench;
  const bool measures = group < groups;
  if (measures) {
    Communicator* cell = question.tensor_parallel > 1 ? tensor.get() : nullptr;
    auto attention = MeshAttention::make(
        *solo, attention_config(question, cell == nullptr ? 0 : cell->rank().value), clock);
    TS_TRY(attention.status());  // of the dims, so the same on every rank that measures
    bench.emplace(question, *solo, cell, std::move(attention).value());
  }
  Times warm{};
  double pass_s = 0;
  for (int i = 0; measures && i < 2; ++i) {
    const Nanoseconds begin = clock.now();
    bench->run(warm);
    pass_s = seconds(clock.now() - begin);
  }
  const int passes = passes_of_a_round(world, pass_s, question.round_s);
  std::array<std::vector<double>, kQuantities> samples;
  for (int round = 0; round < question.rounds; ++round) {
    barrier(world);
    if (!measures) continue;
    Times sum{};
    const Nanoseconds begin = clock.now();
    const double processor_begin = thread_processor_s();
    for (int i = 0; i < passes; ++i) bench->run(sum);
    const double had = (thread_processor_s() - processor_begin) / seconds(clock.now() - begin);
    const double share = question.speed < 1 ? 1 : had;
    for (std::size_t q = 0; q < kQuantities; ++q) {
      samples[q].push_back(std::max(sum[q], 0.0) / passes / share);
    }
  }

  LayerProfile profile;
  for (std::size_t q = 0; q < kQuantities; ++q) {
    profile.measurements.push_back(
        summarize(world,
                  fmt::format("{}, tp {}, micro-batch {}, recompute {}", kNames[q], question.tensor_parallel,
                              question.micro_batch, planner::recompute_name(question.recompute)),
                  samples[q]));
  }
  const auto value = [&](Quantity q) { return profile.measurements[q].median; };
  // Bytes are rank 0's: it measures always, and blocks of ragged divisions are not smaller there by more than
  // a row.
  std::string text;
  if (world.rank() == Rank(0)) {
    planner::Profile rows;
    planner::DeviceProfile& device = rows.devices["device"];
    device.layers = bench->rows();
    for (planner::ProfileLayer& row : device.layers) {
      row.update_s = value(kUpdate) * row.parameter_bytes / bench->parameter_bytes();
    }
    text = planner::to_profile_json(rows);
  }
  const auto texts = all_gather_bytes(world, as_bytes(text.data(), std::ssize(text)));
  const std::string json(reinterpret_cast<const char*>(texts[0].data()), texts[0].size());
  profile.rows = planner::parse_profile(json, "profile").value().devices.at("device").layers;
  for (planner::ProfileLayer& row : profile.rows) {
    row.forward_s = row.kind == LayerKind::kDecoder     ? value(kDecoderForward)
                    : row.kind == LayerKind::kEmbedding ? value(kEmbeddingForward)
                                                        : 0;
    row.backward_s = row.kind == LayerKind::kDecoder     ? value(kDecoderBackward)
                     : row.kind == LayerKind::kEmbedding ? value(kEmbeddingBackward)
                                                         : value(kHeadBackward);
  }
  return profile;
}

}  // namespace tessera::runtime
