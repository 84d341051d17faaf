// A plan as a simulated iteration: what it takes over, what loads the NICs, when gradients are complete, and
// how the simulation relates to the analytic estimate.
#include "planner/sim/plan_iteration.h"

#include <gtest/gtest.h>

#include "planner/sim/closed_form.h"
#include "planner/spec/device_table.h"

namespace tessera::planner::sim {
namespace {

ModelSpec small_model() {
  ModelSpec model;
  model.hidden_size = 1024;
  model.intermediate_size = 4096;
  model.layers = 8;
  model.heads = 16;
  model.kv_heads = 16;
  model.head_dim = 64;
  model.vocab_size = 32000;
  return model;
}

/// Two nodes of four devices each.
ClusterSpec two_nodes() {
  ClusterSpec cluster;
  for (const char* name : {"A100-40", "H20"}) {
    cluster.types.push_back(*find_device_type(name));
    NodeSpec node;
    node.name = name;
    node.type = static_cast<int>(cluster.types.size()) - 1;
    node.devices = 4;
    node.intra = default_intra_link(cluster.types.back());
    node.inter = affine_link(1e-5, 1e10);
    cluster.nodes.push_back(node);
  }
  return cluster;
}

CostModel cost_model(double clip = 1) {
  TrainSpec train;
  train.sequence_length = 1024;
  train.global_batch = 16;
  train.clip = clip;
  return CostModel::create(small_model(), two_nodes(), train).value();
}

planner::Stage stage(int node, int first_device, int devices, int first_layer, int layers) {
  planner::Stage out;
  for (int d = 0; d < devices; ++d) out.devices.push_back({node, first_device + d});
  out.first_layer = first_layer;
  out.layers = layers;
  out.recompute.assign(static_cast<std::size_t>(layers), Recompute::kNone);
  return out;
}

/// Group 0: two stages on two nodes, cut 3 | 5. Group 1: two stages on node 1, cut 4 | 4. Tensor parallel 1.
Plan asymmetric_plan(const CostModel& cost) {
  Plan plan;
  plan.layers = 8;
  plan.parameters = cost.model().parameters();
  plan.sequence_length = 1024;
  plan.global_batch = 16;
  plan.precision = cost.precision();
  plan.nodes = {{"A100-40", "A100-40", 4}, {"H20", "H20", 4}};
  plan.groups.push_back({10, {stage(0, 0, 1, 0, 3), stage(1, 0, 1, 3, 5)}, 0, 0});
  plan.groups.push_back({6, {stage(1, 1, 1, 0, 4), stage(1, 2, 1, 4, 4)}, 0, 0});
  return plan;
}

TEST(PlanIteration, TakesTimesAndBytesFromTheEstimate) {
  const CostModel cost = cost_model();
  const Plan plan = asymmetric_plan(cost);
  const PlanSimulation simulation = simulate_plan(plan, cost);
  ASSERT_EQ(simulation.iteration.groups.size(), 2U);
  for (std::size_t g = 0; g < 2; ++g) {
    EXPECT_EQ(simulation.iteration.groups[g].micro_batches, plan.groups[g].micro_batches);
    for (std::size_t s = 0; s < 2; ++s) {
      const StageExpectation& expected = simulation.estimate.stages[g][s];
      EXPECT_EQ(simulation.iteration.groups[g].stages[s].forward_s, expected.forward_s);
      EXPECT_EQ(simulation.iteration.groups[g].stages[s].backward_s, expected.backward_s);
      // The simulated peak is the estimated one: in flight min(P - s, m).
      EXPECT_NEAR(simulation.memory[g][s].peak_bytes, expected.peak_bytes, 1e-6 * expected.peak_bytes);
    }
    EXPECT_DOUBLE_EQ(closed_form_s(simulation.iteration.groups[g]), simulation.estimate.pipeline_s[g]);
  }
}

TEST(PlanIteration, OnlyCrossNodeTrafficLoadsNics) {
  const CostModel cost = cost_model();
  const Iteration iteration = simulate_plan(asymmetric_plan(cost), cost).iteration;
  ASSERT_EQ(iteration.nic_bytes_per_s.size(), 4U);
  EXPECT_NEAR(iteration.nic_bytes_per_s[0], 1e10, 1);
  const double bytes = cost.boundary_bytes({1, {}, 1});
  const Transfer& forward = iteration.groups[0].stages[0].send_activation;  // node 0 -> node 1
  ASSERT_EQ(forward.demands.size(), 2U);
  EXPECT_EQ(forward.demands[0].nic, 0);  // node 0 sends
  EXPECT_EQ(forward.demands[1].nic, 3);  // node 1 receives
  EXPECT_NEAR(forward.demands[0].bytes_per_s * forward.seconds, bytes, 1e-6 * bytes);
  const Transfer& backward = iteration.groups[0].stages[1].send_gradient;
  EXPECT_EQ(backward.demands[0].nic, 1);
  EXPECT_EQ(backward.demands[1].nic, 2);
  EXPECT_TRUE(iteration.groups[1].stages[0].send_activation.demands.empty());
  for (const auto& group : iteration.groups) {
    for (const auto& made : group.stages) {
      for (const Demand& demand : made.send_activation.demands) {
        EXPECT_LE(demand.bytes_per_s, iteration.nic_bytes_per_s[demand.nic] * (1 + 1e-9));
      }
    }
  }
}

TEST(PlanIteration, GradientsAreReadyLayerByLayer) {
  const CostModel cost = cost_model();
  const Iteration iteration = simulate_plan(asymmetric_plan(cost), cost).iteration;
  // Owner tuples by layer: 0-2 (0,0), 3 (1,0), 4-7 (1,1); in descending order.
  ASSERT_EQ(iteration.segments.size(), 3U);
  const LayerCost layer = cost.decoder(cost.device_class(1), {1, {}, 1}, 0, Recompute::kNone);
  const LayerCost head = cost.head(cost.device_class(1), {1, {}, 1}, false);
  const LayerCost embedding = cost.embedding(cost.device_class(1), {1, {}, 1});
  const double upper = head.backward_s + 4 * layer.backward_s;  // layers 7..4 of group 0's last stage
  EXPECT_NEAR(iteration.segments[0].owners[0].ready, upper / (upper + layer.backward_s), 1e-12);
  EXPECT_EQ(iteration.segments[0].owners[1].ready, 1);
  EXPECT_EQ(iteration.segments[1].owners[0].ready, 1);
  const double lower = 4 * layer.backward_s + embedding.backward_s;  // group 1's first stage
  EXPECT_NEAR(iteration.segments[1].owners[1].ready, layer.backward_s / lower, 1e-12);
  EXPECT_EQ(iteration.segments[2].owners[1].ready, 1);
}

TEST(PlanIteration, ClippingMakesUpdatesWait) {
  const CostModel clipped = cost_model(1);
  const CostModel free = cost_model(0);
  EXPECT_TRUE(simulate_plan(asymmetric_plan(clipped), clipped).iteration.norm_barrier);
  EXPECT_FALSE(simulate_plan(asymmetric_plan(free), free).iteration.norm_barrier);
}

TEST(PlanIteration, TiedEmbeddingsAreASegmentOfFirstAndLastStages) {
  ModelSpec model = small_model();
  model.tie_word_embeddings = true;
  TrainSpec train;
  train.sequence_length = 1024;
  train.global_batch = 16;
  const CostModel cost = CostModel::create(model, two_nodes(), train).value();
  Plan plan = asymmetric_plan(cost);
  plan.tied_embeddings = true;
  const Iteration iteration = simulate_plan(plan, cost).iteration;
  const Segment& tied = iteration.segments.back();
  EXPECT_EQ(tied.name, "tied embedding");
  ASSERT_EQ(tied.owners.size(), 4U);
  EXPECT_EQ(tied.owners[0].ready, 1);  // the embedding is the first stage's last
  EXPECT_LT(tied.owners[1].ready, 1);  // and the last stage's first
}

TEST(PlanIteration, AgreesWithTheEstimateWhereNothingContends) {
  // One group: no reductions between groups, one NIC per direction. The pipeline's analytic form is within
  // the few per cent that closed_form_test measures.
  const CostModel cost = cost_model();
  Plan plan = asymmetric_plan(cost);
  plan.groups.pop_back();
  plan.groups[0].micro_batches = 16;
  const PlanSimulation simulation = simulate_plan(plan, cost);
  EXPECT_NEAR(simulation.timeline.pipeline_s / simulation.estimate.pipeline_s[0], 1, 0.06);
  EXPECT_EQ(simulation.timeline.reduce_exposed_s, 0);
}

}  // namespace
}  // namespace tessera::planner::sim
