/// Runs one pipeline of TransformerStages on ranks as threads and brings the pieces together. Legend: P
/// stages of C context ranks of t tensor ranks, rank = (stage * C + cell) * t + tensor; m micro-batches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "algos/base/clock.h"
#include "planner/plan/plan.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/comm/local_comm.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/schedule/pipeline.h"
#include "tests/support/llama_reference.h"

namespace tessera::support {

struct StageCut {
  int layers = 0;
  std::vector<planner::Recompute> recompute;  // empty: none
};

struct PipelineCase {
  std::vector<StageCut> stages;
  int tensor_ranks = 1;
  runtime::MeshShape mesh;
  [[nodiscard]] int ranks() const { return static_cast<int>(stages.size()) * mesh.ranks() * tensor_ranks; }
};

struct PipelineResult {
  runtime::LossSum training;
  runtime::LossSum evaluation;
  std::vector<float> gradients;  // of the whole model, summed over micro-batches and ranks
  std::int64_t pipeline_bytes = 0;
  std::int64_t tensor_bytes = 0;
};

/// The slice of `stage`, for one tensor rank.
inline runtime::ModelSlice slice_of(const PipelineCase& c, std::size_t stage, int tensor_rank) {
  runtime::ModelSlice slice;
  for (std::size_t s = 0; s < stage; ++s) slice.first_layer += c.stages[s].layers;
  slice.layers = c.stages[stage].layers;
  slice.embedding = stage == 0;
  slice.head = stage + 1 == c.stages.size();
  slice.tensor_rank = tensor_rank;
  slice.tensor_ranks = c.tensor_ranks;
  return slice;
}

inline PipelineResult run_pipeline(const planner::ModelSpec& spec, const std::vector<float>& parameters,
                                   const std::vector<LlamaInput>& micro_batches, const PipelineCase& c) {
  using namespace runtime;  // NOLINT(google-build-using-namespace): this function alone
  const ParameterLayout full(spec);
  PipelineResult result;
  result.gradients.assign(static_cast<std::size_t>(full.total()), 0.0F);
  std::mutex mutex;
  run_local_ranks(c.ranks(), [&](Communicator& world) {
    const int cells = c.mesh.ranks();
    const int tensor_rank = world.rank().value % c.tensor_ranks;
    const int cell = world.rank().value / c.tensor_ranks % cells;
    const int stage_number = world.rank().value / c.tensor_ranks / cells;
    const int per_stage = cells * c.tensor_ranks;
    const auto context = world.split(stage_number * c.tensor_ranks + tensor_rank, cell);
    const auto tensor = world.split(stage_number * cells + cell, tensor_rank);

    StageConfig config;
    config.slice = slice_of(c, static_cast<std::size_t>(stage_number), tensor_rank);
    config.batch = micro_batches.front().batch;
    config.recompute = c.stages[static_cast<std::size_t>(stage_number)].recompute;
    config.recompute.resize(static_cast<std::size_t>(config.slice.layers), planner::Recompute::kNone);
    PipelinePlace place;
    place.stages = static_cast<int>(c.stages.size());
    place.stage = stage_number;
    if (!config.slice.embedding) place.previous = Rank(world.rank().value - per_stage);
    if (!config.slice.head) place.next = Rank(world.rank().value + per_stage);
    config.slots = pipeline_slots(place, static_cast<int>(micro_batches.size()));

    const planner::ModelSpec local = local_spec(spec, config.slice);
    AttentionConfig attention_config;
    attention_config.dims = {config.batch, micro_batches.front().tokens_per_sequence, local.heads,
                             local.kv_heads, spec.head_dim};
    attention_config.shape = c.mesh;
    attention_config.dropout = static_cast<float>(spec.attention_dropout);
    attention_config.first_head = tensor_rank * local.heads;
    const SystemClock clock;
    auto attention = MeshAttention::make(*context, attention_config, clock);
    if (!attention.ok()) throw std::runtime_error(attention.status().message());

    const ParameterLayout layout(spec, config.slice);
    std::vector<float> own(static_cast<std::size_t>(layout.total()), 0.0F);
    const auto for_each_run = [&](const auto& visit) {
      for (const ParameterInfo& info : layout.parameters()) {
        const std::int64_t whole = full.find(info.name).offset;
        for (const ParameterInfo::Run& run : info.runs()) {
          for (std::int64_t i = 0; i < run.count; ++i) {
            visit(static_cast<std::size_t>(run.offset + i),
                  static_cast<std::size_t>(whole + run.full_index + i));
          }
        }
      }
    };
    for_each_run([&](std::size_t here, std::size_t there) { own[here] = parameters[there]; });

    TransformerStage stage(spec, layout, *attention.value(), tensor.get(), config);
    Pipeline pipeline(stage, world, place, static_cast<int>(micro_batches.size()));
    const auto positions = attention.value()->positions();
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> labels;
    const Pipeline::Load load = [&](int k) {
      const LlamaInput& input = micro_batches[static_cast<std::size_t>(k)];
      tokens.clear();
      labels.clear();
      for (std::int64_t b = 0; b < input.batch; ++b) {
        for (const std::int32_t position : positions) {
          const auto at = static_cast<std::size_t>(b * input.tokens_per_sequence + position);
          tokens.push_back(input.tokens[at]);
          labels.push_back(input.labels[at]);
        }
      }
      MicroBatch batch;
      batch.tokens = tokens;
      batch.labels = labels;
      batch.attention.documents = input.documents;
      batch.dropout_key = input.dropout_key;
      batch.sequence_ids = input.sequence_ids;
      return batch;
    };
    std::vector<float> gradients(own.size(), 0.0F);
    std::vector<int> announced(own.size(), 0);
    world.traffic().reset();
    const LossSum training =
        pipeline.train(own.data(), gradients.data(), load, [&](std::int64_t offset, std::int64_t count) {
          for (std::int64_t i = offset; i < offset + count; ++i) ++announced[static_cast<std::size_t>(i)];
        });
    const std::int64_t pipeline_bytes = world.traffic().by_kind(Traffic::kPipeline).bytes_sent;
    const std::int64_t tensor_bytes = world.traffic().by_kind(Traffic::kTensor).bytes_sent;
    const LossSum evaluation = pipeline.evaluate(own.data(), static_cast<int>(micro_batches.size()), load);

    const std::lock_guard lock(mutex);
    if (announced != std::vector<int>(own.size(), 1))
      throw std::runtime_error("gradients not announced once");
    result.training.loss += training.loss;
    result.training.labels += training.labels;
    result.evaluation.loss += evaluation.loss;
    result.evaluation.labels += evaluation.labels;
    result.pipeline_bytes += pipeline_bytes;
    result.tensor_bytes += tensor_bytes;
    for_each_run([&](std::size_t here, std::size_t there) { result.gradients[there] += gradients[here]; });
  });
  return result;
}

}  // namespace tessera::support
