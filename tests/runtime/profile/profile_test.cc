#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algos/base/processor_time.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/local_comm.h"
#include "runtime/model/transformer_stage.h"
#include "runtime/profile/machine_profile.h"

namespace tessera::runtime {
namespace {

using planner::LayerKind;
using planner::ProfileLayer;
using planner::Recompute;
using ::testing::HasSubstr;

/// Of the calling thread: what other work on the machine does, does not show.
class ProcessorClock final : public Clock {
 public:
  [[nodiscard]] Nanoseconds now() const override {
    return Nanoseconds(static_cast<std::int64_t>(1e9 * thread_processor_s()));
  }
};

planner::ModelSpec small_model() {
  planner::ModelSpec model;
  model.hidden_size = 96;
  model.intermediate_size = 160;
  model.layers = 8;
  model.heads = 6;
  model.kv_heads = 2;
  model.head_dim = 16;
  model.vocab_size = 300;
  model.max_position_embeddings = 256;
  return model;
}

LayerQuestion question(Recompute recompute) {
  LayerQuestion q;
  q.model = small_model();
  q.micro_batch = 2;
  q.sequence_length = 96;
  q.recompute = recompute;
  q.rounds = 5;
  q.round_s = 0.03;
  return q;
}

LayerProfile measured(const LayerQuestion& q, int ranks = 1) {
  LayerProfile out;
  const ProcessorClock clock;
  run_local_ranks(ranks, [&](Communicator& world) {
    const auto found = profile_layers(world, q, clock);
    ASSERT_TRUE(found.ok()) << found.status().message();
    if (world.rank() == Rank(0)) out = found.value();
  });
  return out;
}

TEST(SamplesTest, QuantilesAreLinearBetweenOrderStatistics) {
  // numpy.quantile([4, 1, 3, 2, 10], [0, .25, .5, .6, 1])
  const std::vector<double> values = {4, 1, 3, 2, 10};
  EXPECT_EQ(quantile(values, 0), 1);
  EXPECT_EQ(quantile(values, 0.25), 2);
  EXPECT_EQ(quantile(values, 0.5), 3);
  EXPECT_NEAR(quantile(values, 0.6), 3.4, 1e-12);
  EXPECT_EQ(quantile(values, 1), 10);
  EXPECT_EQ(quantile({7}, 0.3), 7);
}

TEST(SamplesTest, SummariesAreOfAllRanks) {
  run_local_ranks(3, [](Communicator& world) {
    // Ranks with 0, 1 and 4 samples: 1 | 2 3 4 5.
    const std::vector<std::vector<double>> samples = {{}, {1}, {2, 3, 4, 5}};
    const Measurement m = summarize(world, "x", samples[static_cast<std::size_t>(world.rank().value)]);
    EXPECT_EQ(m.median, 3);
    EXPECT_EQ(m.samples, 5);
    EXPECT_NEAR(m.spread, (4.0 - 2.0) / 2 / 3, 1e-12);
  });
}

TEST(LayerProfileTest, BytesAreThoseOfTheFormulas) {
  const LayerProfile found = measured(question(Recompute::kNone));
  ASSERT_EQ(found.rows.size(), 3U);
  const ProfileLayer& decoder = found.rows[0];
  // runtime/model/activations.h with T = 192, D = 96, H d = 96, G d = 32, F = 160, H = 6, S = T' = T.
  const double T = 192;
  EXPECT_EQ(decoder.activation_bytes,
            4 * (2 * T * 96 + 2 * T * 96 + T * (2 * 96 + 2 * 32) + 2 * T * 160 + T * 6 + 2 * T));
  EXPECT_EQ(decoder.parameter_bytes, 4.0 * (96 * (96 + 2 * 32) + 96 * 96 + 3 * 96 * 160 + 2 * 96));
  EXPECT_EQ(found.rows[1].kind, LayerKind::kHead);
  EXPECT_EQ(found.rows[1].parameter_bytes, 4.0 * (300 * 96 + 96));
  EXPECT_EQ(found.rows[2].parameter_bytes, 4.0 * 300 * 96);
  // Scratch of the layers: TD + SD + T (3 Hd + 4 Gd) + 2TF floats at least, then the kernels'.
  EXPECT_GE(decoder.workspace_bytes, 4 * (2 * T * 96 + T * (3 * 96 + 4 * 32) + 2 * T * 160));
  EXPECT_GT(found.rows[1].workspace_bytes, decoder.workspace_bytes);  // and the logits
  EXPECT_EQ(measured(question(Recompute::kFull)).rows[0].activation_bytes, 4 * T * 96);
  EXPECT_EQ(measured(question(Recompute::kSelective)).rows[0].activation_bytes,
            4 * (T * 96 + T * 96 + T * 6));
}

TEST(LayerProfileTest, RowsAddUpToTheStage) {
  const ProcessorClock clock;
  LayerQuestion q = question(Recompute::kNone);
  const LayerProfile found = measured(q);
  double of_rows = 0;
  for (const ProfileLayer& row : found.rows) {
    of_rows += (row.kind == LayerKind::kDecoder ? 3 : 1) * (row.forward_s + row.backward_s);
  }
  // The same stage, timed from outside as a whole.
  double whole = 0;
  run_local_ranks(1, [&](Communicator& world) {
    planner::ModelSpec model = q.model;
    model.layers = 3;
    const ModelSlice slice = whole_model(model);
    const ParameterLayout layout(model, slice);
    AttentionConfig attention;
    attention.dims = {q.micro_batch, q.sequence_length, model.heads, model.kv_heads, model.head_dim};
    const auto mesh = MeshAttention::make(world, attention, clock);
    ASSERT_TRUE(mesh.ok());
    TransformerStage stage(model, layout, *mesh.value(), nullptr,
                           {slice, q.micro_batch, 1, std::vector<Recompute>(3, Recompute::kNone)});
    kernels::Buffer<float> parameters(layout.total());
    kernels::Buffer<float> gradients(layout.total());
    initialize_parameters(model, layout, 1, parameters.data());
    const std::vector<std::int32_t> tokens(static_cast<std::size_t>(q.micro_batch * q.sequence_length), 5);
    MicroBatch batch;
    batch.tokens = tokens;
    batch.labels = tokens;
    std::vector<double> samples;
    for (int i = 0; i < 60; ++i) {
      const double begin = thread_processor_s();
      stage.forward(parameters.data(), batch, 0, true);
      (void)stage.backward(parameters.data(), gradients.data(), batch, 0);
      samples.push_back(thread_processor_s() - begin);
    }
    whole = quantile(samples, 0.5);
  });
  // Caches shared with other work change processor time too: a third is what a busy machine has shown.
  EXPECT_NEAR(of_rows / whole, 1, 0.35);
}

TEST(LayerProfileTest, RecomputingCostsWhatIsComputedAgain) {
  const ProfileLayer none = measured(question(Recompute::kNone)).rows[0];
  const ProfileLayer full = measured(question(Recompute::kFull)).rows[0];
  EXPECT_GT(none.forward_s, 0);
  EXPECT_GT(none.update_s, 0);
  const double again = full.backward_s - none.backward_s;
  EXPECT_GT(again, 0.4 * none.forward_s);
  EXPECT_LT(again, 2.0 * none.forward_s);
}

TEST(LayerProfileTest, TensorRanksHoldTheirBlocksAndRanksLeftOverWait) {
  LayerQuestion q = question(Recompute::kNone);
  q.tensor_parallel = 2;
  q.rounds = 2;
  const ProfileLayer row = measured(q, 3).rows[0];
  EXPECT_EQ(row.tensor_parallel, 2);
  EXPECT_EQ(row.parameter_bytes, 4.0 * ((96 * (96 + 2 * 32) + 96 * 96 + 3 * 96 * 160) / 2.0 + 2 * 96));
  q.tensor_parallel = 4;
  run_local_ranks(1, [&](Communicator& world) {
    const auto refused = profile_layers(world, q, SystemClock());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  });
}

TEST(MachineProfileTest, ReadsBackAndHasEveryCurve) {
  ProfileQuestion q;
  q.device = "CPU rank";
  q.model = small_model();
  q.sequence_length = 32;
  q.rounds = 2;
  q.round_s = 0.002;
  q.plays_nodes = true;
  MachineProfile found;
  run_local_ranks(4, [&](Communicator& world) {
    const auto mine = profile_machine(world, q, SystemClock());
    ASSERT_TRUE(mine.ok()) << mine.status().message();
    if (world.rank() == Rank(0)) found = mine.value();
  });
  const auto again = planner::parse_profile(planner::to_profile_json(found.profile), "profile.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value().devices, found.profile.devices);
  // 2 micro-batches x (3 modes of the decoder, head, embedding).
  EXPECT_EQ(found.profile.devices.at("CPU rank").layers.size(), 10U);
  const planner::LinkProfile& links = found.profile.links.at("CPU rank");
  EXPECT_EQ(links.intra.points.size(), 5U);
  EXPECT_EQ(links.inter, links.intra);
  EXPECT_GT(links.intra.points.front().seconds, 0);
  for (std::size_t i = 1; i < links.intra.points.size(); ++i) {
    EXPECT_GE(links.intra.points[i].seconds, links.intra.points[i - 1].seconds);
  }
  // Groups of 2 and 4, three kinds, inside a node and between nodes.
  EXPECT_EQ(found.profile.collectives.size(), 12U);
  EXPECT_THAT(to_text(found.measurements), HasSubstr("all-reduce of 4 ranks"));
}

}  // namespace
}  // namespace tessera::runtime
