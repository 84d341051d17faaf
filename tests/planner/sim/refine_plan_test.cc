// Refinement: never slower, always sound, and on small problems as good as trying every cut and allocation.
#include "planner/sim/refine_plan.h"

#include <gtest/gtest.h>

#include "planner/cost/estimate.h"
#include "planner/spec/device_table.h"

namespace tessera::planner {
namespace {

CostModel cost_model(int layers, std::int64_t batch) {
  ModelSpec model;
  model.hidden_size = 1024;
  model.intermediate_size = 2816;
  model.layers = layers;
  model.heads = 16;
  model.kv_heads = 16;
  model.head_dim = 64;
  model.vocab_size = 1024;
  ClusterSpec cluster;
  for (const char* name : {"H800", "A100-40", "H20"}) {
    cluster.types.push_back(*find_device_type(name));
    NodeSpec node;
    node.name = name;
    node.type = static_cast<int>(cluster.types.size()) - 1;
    node.devices = 2;
    node.intra = default_intra_link(cluster.types.back());
    node.inter = affine_link(1e-5, 2e10);
    cluster.nodes.push_back(node);
  }
  TrainSpec train;
  train.sequence_length = 1024;
  train.global_batch = batch;
  return CostModel::create(model, cluster, train).value();
}

/// Two groups: one H800 and one A100 each with that cut, and one more of an H20 alone.
Plan plan_of(const CostModel& cost, int cut, std::int64_t pair, std::int64_t single) {
  Plan plan;
  plan.layers = cost.model().layers;
  plan.parameters = cost.model().parameters();
  plan.sequence_length = cost.train().sequence_length;
  plan.global_batch = cost.train().global_batch;
  plan.precision = cost.precision();
  plan.nodes = {{"H800", "H800", 2}, {"A100-40", "A100-40", 2}, {"H20", "H20", 2}};
  const auto stage = [&](int node, int first, int layers) {
    return Stage{
        {{node, 0}}, first, layers, std::vector(static_cast<std::size_t>(layers), Recompute::kNone), {}};
  };
  plan.groups.push_back({pair, {stage(0, 0, cut), stage(1, cut, plan.layers - cut)}, 0, 0});
  plan.groups.push_back({single, {stage(2, 0, plan.layers)}, 0, 0});
  return plan;
}

TEST(RefinePlan, FindsTheBestCutAndAllocation) {
  const CostModel cost = cost_model(12, 24);
  double best = 1e9;
  for (int cut = 1; cut < 12; ++cut) {
    for (std::int64_t pair = 1; pair < 24; ++pair) {
      best = std::min(best, estimate(plan_of(cost, cut, pair, 24 - pair), cost).iteration_s);
    }
  }
  for (const int start : {1, 6, 11}) {
    const Plan refined = sim::refine_plan(plan_of(cost, start, 12, 12), cost);
    EXPECT_TRUE(check_plan(refined, cost, "refined").ok());
    EXPECT_NEAR(refined.expected.iteration_s, best, 1e-9 * best) << "from a cut at " << start;
  }
}

TEST(RefinePlan, IsNeverSlowerAndStaysWithinMemory) {
  for (int layers = 4; layers <= 16; layers += 3) {
    const CostModel cost = cost_model(layers, 16);
    for (int cut = 1; cut < layers; ++cut) {
      const Plan start = plan_of(cost, cut, 9, 7);
      const Plan refined = sim::refine_plan(start, cost);
      EXPECT_LE(refined.expected.iteration_s, estimate(start, cost).iteration_s);
      EXPECT_TRUE(check_plan(refined, cost, "refined").ok());
    }
  }
}

TEST(RefinePlan, StopsWhenTold) {
  const CostModel cost = cost_model(12, 24);
  const Plan start = plan_of(cost, 1, 12, 12);
  const Plan stopped = sim::refine_plan(start, cost, [] { return true; });
  EXPECT_EQ(stopped.groups[0].stages[0].layers, 1);  // no layer was moved
}

}  // namespace
}  // namespace tessera::planner
