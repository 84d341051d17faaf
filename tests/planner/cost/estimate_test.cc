// A measured profile makes times and bytes that can be added up by hand.
#include "planner/cost/estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/plan/check_structure.h"
#include "tests/planner/plan/plan_fixture.h"

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;

/// Four layers on CPU ranks; decoder 2 + 4 s per micro-batch of 2, embedding 0.5 + 0.5, head 1 + 2.
struct World {
  ModelSpec model;
  ClusterSpec cluster;
  TrainSpec train;
  Profile profile;
  Plan plan;
};

World world() {
  World made;
  made.model.hidden_size = 64;
  made.model.intermediate_size = 96;
  made.model.layers = 4;
  made.model.heads = 4;
  made.model.kv_heads = 2;
  made.model.head_dim = 16;
  made.model.vocab_size = 256;
  made.cluster = parse_cluster_spec(R"({"nodes": [
      {"name": "n", "gpu": {"name": "c", "kind": "cpu", "gflops": 1, "memory_gb": 1, "memory_gb_per_s": 1},
       "count": 2, "nodes": 2, "intra": {"latency_us": 100000, "gb_per_s": 1000000},
       "inter": {"latency_us": 1000000, "gb_per_s": 1000000}}]})",
                                    "c")
                     .value();
  made.train.sequence_length = 64;
  made.train.global_batch = 12;
  made.profile = parse_profile(R"({"devices": {"c": {"layers": [
      {"kind": "decoder", "micro_batch": 2, "forward_s": 2, "backward_s": 4, "update_s": 8,
       "workspace_bytes": 1000, "activation_bytes": 3e7, "parameter_bytes": 4e7},
      {"kind": "decoder", "micro_batch": 4, "forward_s": 3, "backward_s": 6, "update_s": 8,
       "workspace_bytes": 2000, "activation_bytes": 5e7, "parameter_bytes": 4e7},
      {"kind": "embedding", "micro_batch": 2, "forward_s": 0.5, "backward_s": 0.5, "update_s": 1,
       "activation_bytes": 0, "parameter_bytes": 4e6},
      {"kind": "head", "micro_batch": 2, "forward_s": 1, "backward_s": 2, "update_s": 2,
       "workspace_bytes": 5000, "activation_bytes": 0, "parameter_bytes": 8e6}]}}})",
                               "p")
                     .value();
  made.plan = testing::plan_of(1, {}, {{1, 3}, {4}}, 2, 2);
  made.plan.parameters = made.model.parameters();
  made.plan.micro_batch = 2;
  made.plan.global_batch = 12;
  for (std::size_t i = 0; i < 2; ++i) made.plan.nodes[i] = {made.cluster.nodes[i].name, "c", 2};
  return made;
}

CostModel cost_of(const World& made) {
  return CostModel::create(made.model, made.cluster, made.train, made.profile).value();
}

TEST(Estimate, PipelineTimesAddUp) {
  const World made = world();
  ASSERT_TRUE(check_structure(made.plan, "plan", made.model, made.cluster, made.train).ok());
  const PlanEstimate found = estimate(made.plan, cost_of(made));
  EXPECT_DOUBLE_EQ(found.stages[0][0].forward_s, 2 + 0.5);
  EXPECT_DOUBLE_EQ(found.stages[0][1].backward_s, 3 * 4 + 2);
  // Group 0: u = 7, 21; q = 0.1 s latency (the bytes take 2^-5 us); round trip (28.2) / 2 < 21.
  EXPECT_NEAR(found.stages[0][0].send_activation_s, 0.1, 1e-6);
  EXPECT_NEAR(found.period_s[0], 21, 1e-9);
  EXPECT_NEAR(found.pipeline_s[0], 28.2 + 2 * 21, 1e-5);
  // Group 1: one stage of 4 layers, embedding and head.
  EXPECT_NEAR(found.pipeline_s[1], 3 * (4 * 6 + 1 + 3), 1e-9);
}

TEST(Estimate, MemoryAddsUp) {
  const World made = world();
  const CostModel cost = cost_of(made);
  const StageExpectation first = estimate(made.plan, cost).stages[0][0];
  // fp32: weight 4, gradient 4, moments 8 over 2 owners: 12 bytes for each 4 of parameter_bytes.
  EXPECT_DOUBLE_EQ(first.static_bytes, (4e7 + 4e6) / 4 * 12);
  // Two micro-batches in flight, of one layer and the buffer that goes out (2 S D floats: 2 x 64 x 2 rows).
  EXPECT_DOUBLE_EQ(first.activation_bytes, 3e7 + 4.0 * 2 * 128 * 64);
  EXPECT_DOUBLE_EQ(first.peak_bytes, first.static_bytes + 2 * first.activation_bytes + 1000);
  EXPECT_DOUBLE_EQ(first.capacity_bytes, 1e9);
}

TEST(Estimate, UpdateAndReductionAddUp) {
  const World made = world();
  const PlanEstimate found = estimate(made.plan, cost_of(made));
  EXPECT_DOUBLE_EQ(found.update_s, (4 * 8 + 1 + 2) / 2.0);  // group 1, over two owners
  // Segments 1-3 and 0, each one hop between the nodes: 1 s to reduce, 1 s to gather. Group 1 ends at 84 s,
  // the last; its layers 1-3 are ready a quarter of its last backward (18.5 s) earlier than layer 0.
  ASSERT_EQ(found.segments.size(), 2U);
  EXPECT_EQ(found.segments[0].segment.first_layer, 1);
  EXPECT_NEAR(found.segments[0].reduce_s, 1, 1e-3);
  EXPECT_NEAR(found.sync_exposed_s, 1, 1e-3);
  EXPECT_NEAR(found.gather_s, 2, 1e-3);
  EXPECT_NEAR(found.iteration_s, 84 + 1 + 17.5 + 2, 1e-2);
}

TEST(CostModel, MeasuredSizesAreInterpolatedAndSpeedDivides) {
  World made = world();
  const CostModel cost = cost_of(made);
  EXPECT_DOUBLE_EQ(cost.decoder({0, 1}, {1, {}, 3}, 0, Recompute::kNone).forward_s, 2.5);
  EXPECT_DOUBLE_EQ(cost.decoder({0, 1}, {1, {}, 3}, 0, Recompute::kNone).activation_bytes, 4e7);
  EXPECT_DOUBLE_EQ(cost.decoder({0, 1}, {1, {}, 8}, 0, Recompute::kNone).forward_s, 5);
  EXPECT_DOUBLE_EQ(cost.decoder({0, 0.5}, {1, {}, 2}, 0, Recompute::kNone).forward_s, 4);
  const LayerCost again = cost.decoder({0, 1}, {1, {}, 2}, 0, Recompute::kSelective);
  EXPECT_GT(again.backward_s, 4);
  EXPECT_LT(again.activation_bytes, 3e7);
}

TEST(CostModel, AnalyticProductsRunAtTheAchievableRate) {
  // Long rows on a device with endless memory rate: products alone. 7B's layer, 4096 tokens.
  ModelSpec model = world().model;
  model.hidden_size = 4096;
  model.intermediate_size = 11008;
  model.heads = 32;
  model.kv_heads = 32;
  model.head_dim = 128;
  const ClusterSpec cluster = parse_cluster_spec(R"({"nodes": [{"count": 1, "gpu":
      {"name": "g", "gflops": 100000, "achievable_share": 0.5, "memory_gb": 80, "memory_gb_per_s": 1000000}}]})",
                                                 "c")
                                  .value();
  TrainSpec train;
  train.sequence_length = 4096;
  train.global_batch = 1;
  const CostModel cost = CostModel::create(model, cluster, train).value();
  const double weights = 4.0 * 4096 * 4096 + 3.0 * 4096 * 11008;
  const double pairs = 4096.0 * 4097 / 2;
  const double expected = (2 * 4096 * weights + 4 * 4096 * pairs / 0.75) / 50e12;
  EXPECT_NEAR(cost.decoder({0, 1}, {}, 0, Recompute::kNone).forward_s, expected, 0.01 * expected);
  EXPECT_DOUBLE_EQ(cost.decoder({0, 1}, {}, 0, Recompute::kNone).parameters, weights + 2 * 4096);
}

TEST(CheckPlan, RefusesWhatDoesNotFitAndSaysWhatWould) {
  World made = world();
  EXPECT_TRUE(check_plan(made.plan, cost_of(made), "my plan").ok());
  made.cluster.types[0].memory_bytes = 2e8;
  const Status status = check_plan(made.plan, cost_of(made), "my plan");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("my plan: groups[0].stages[1]"));
  EXPECT_THAT(status.message(), HasSubstr("layers 1 to 3 need"));
  EXPECT_THAT(status.message(), HasSubstr("with recomputation in all its layers"));
}

}  // namespace
}  // namespace tessera::planner
