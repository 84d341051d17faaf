// The estimate against what the parts of a rank allocate: kernels::Buffer counts every byte. Ranks are
// threads, so the count of the process is the sum over ranks.
#include "runtime/train/memory_estimate.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/clock.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/local_comm.h"
#include "runtime/model/parameters.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/optim/sharded_adamw.h"

namespace tessera::runtime {
namespace {

struct Case {
  const char* name = "";
  const char* mesh = "1x1";
  std::int64_t tokens = 0;
  std::int64_t batch = 1;
  int hidden = 0;
  int layers = 0;
  std::int64_t vocabulary = 0;
  planner::Recompute recompute = planner::Recompute::kNone;
  std::int32_t window = 0;
  TokenLayout layout = TokenLayout::kZigzag;
  int slots = 1;
};

planner::ModelSpec model_of(const Case& c) {
  planner::ModelSpec model;
  model.hidden_size = c.hidden;
  model.intermediate_size = 3 * c.hidden;
  model.layers = c.layers;
  model.heads = 8;
  model.kv_heads = 4;
  model.head_dim = c.hidden / 8;
  model.vocab_size = static_cast<int>(c.vocabulary);
  model.max_position_embeddings = static_cast<int>(c.tokens);
  return model;
}

/// What a Trainer makes on each rank, and one step of it.
struct RankParts {
  RankParts(Communicator& comm, const MemoryQuestion& question, const Clock& clock)
      : layout(question.model, question.slice),
        parameters(layout.total()),
        gradients(layout.total()),
        batch(question.attention.dims.batch) {
    attention = MeshAttention::make(comm, question.attention, clock).value();
    StageConfig config{question.slice, question.attention.dims.batch, question.slots, question.recompute};
    stage = std::make_unique<TransformerStage>(question.model, layout, *attention, nullptr, config);
    optimizer = std::make_unique<ShardedAdamw>(comm, layout, AdamwOptions{});
    initialize_parameters(question.model, layout, 1, parameters.data());
  }
  void step() {
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(batch) * attention->positions().size(),
                                           3);
    MicroBatch micro;
    micro.tokens = micro.labels = tokens;
    stage->forward(parameters.data(), micro, 0, true);
    (void)stage->backward(parameters.data(), gradients.data(), micro, 0);
  }

  ParameterLayout layout;
  kernels::Buffer<float> parameters, gradients;
  std::int64_t batch;
  std::unique_ptr<MeshAttention> attention;
  std::unique_ptr<TransformerStage> stage;
  std::unique_ptr<ShardedAdamw> optimizer;
};

class Memory : public ::testing::TestWithParam<Case> {};

TEST_P(Memory, EstimateIsWithinFivePercent) {
  const Case& c = GetParam();
  const MeshShape shape = parse_mesh_shape(c.mesh).value();
  MemoryQuestion question;
  question.model = model_of(c);
  question.slice = whole_model(question.model);
  question.slots = c.slots;
  question.recompute.assign(static_cast<std::size_t>(c.layers), c.recompute);
  question.attention.dims = {c.batch, c.tokens, question.model.heads, question.model.kv_heads,
                             question.model.head_dim};
  question.attention.shape = shape;
  question.attention.layout = c.layout;
  question.attention.window = c.window;
  question.owned = 1.0 / shape.ranks();

  std::int64_t expected = 0;
  std::string text;
  for (int rank = 0; rank < shape.ranks(); ++rank) {
    question.context_rank = rank;
    const MemoryEstimate estimate = memory_estimate(question);
    expected += estimate.total();
    if (rank == 0) text = to_text(estimate);
  }
  const std::int64_t before = kernels::host_memory_use().current_bytes;
  std::atomic<std::int64_t> held{0};
  run_local_ranks(shape.ranks(), [&](Communicator& comm) {
    const SystemClock clock;
    RankParts parts(comm, question, clock);
    parts.step();
    barrier(comm);
    if (comm.rank() == Rank(0)) held = kernels::host_memory_use().current_bytes - before;
    barrier(comm);
  });
  EXPECT_NEAR(static_cast<double>(expected), static_cast<double>(held.load()),
              0.05 * static_cast<double>(held.load()))
      << text;
  std::printf("%s: estimated %.2f MB, allocated %.2f MB (%+.1f %%)\n", c.name, double(expected) / 1e6,
              double(held.load()) / 1e6, 100 * (double(expected) / double(held.load()) - 1));
}

using enum planner::Recompute;

INSTANTIATE_TEST_SUITE_P(
    Shapes, Memory,
    ::testing::Values(
        Case{"one rank", "1x1", 256, 2, 128, 3, 1000}, Case{"ring", "1x4", 512, 1, 128, 2, 500},
        Case{"Q ring", "4x1", 512, 2, 64, 2, 500}, Case{"mesh", "2x2", 601, 2, 128, 2, 256},
        Case{"mesh, recompute", "2x3", 600, 2, 128, 3, 256, kSelective},
        Case{"mesh, full recompute", "2x2", 600, 1, 128, 3, 256, kFull},
        Case{"hierarchical", "(2.2)x2", 800, 1, 128, 1, 256},
        Case{"head-parallel", "u2:2x1", 800, 1, 128, 1, 256},
        Case{"window on a ring", "1x8", 1600, 1, 64, 1, 256, kNone, 100, TokenLayout::kContiguous},
        Case{"large vocabulary", "1x2", 256, 1, 64, 1, 32000},
        Case{"two micro-batches in flight", "1x2", 512, 1, 128, 2, 256, kNone, 0, TokenLayout::kZigzag, 2}),
    [](const ::testing::TestParamInfo<Case>& info) { return "Case" + std::to_string(info.index); });

}  // namespace
}  // namespace tessera::runtime
