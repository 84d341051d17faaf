// The baselines: their plans pass the independent check, have the shape that gives them their names, and no
// plan of a space enumerated by other loops is faster.
#include "planner/baselines/baselines.h"

#include <numeric>

#include <gtest/gtest.h>

#include "planner/baselines/layouts.h"
#include "planner/cost/estimate.h"
#include "planner/spec/device_table.h"

namespace tessera::planner {
namespace {

ModelSpec model(int layers) {
  ModelSpec out;
  out.hidden_size = 2048;
  out.intermediate_size = 5632;
  out.layers = layers;
  out.heads = 32;
  out.kv_heads = 32;
  out.head_dim = 64;
  out.vocab_size = 32000;
  return out;
}

CostModel cost_model(const std::vector<std::pair<const char*, int>>& nodes, int layers, std::int64_t batch) {
  ClusterSpec cluster;
  for (const auto& [name, devices] : nodes) {
    cluster.types.push_back(*find_device_type(name));
    NodeSpec node;
    node.name = name;
    node.type = static_cast<int>(cluster.types.size()) - 1;
    node.devices = devices;
    node.intra = default_intra_link(cluster.types.back());
    node.inter = affine_link(1e-5, 2e10);
    cluster.nodes.push_back(node);
  }
  TrainSpec train;
  train.sequence_length = 2048;
  train.global_batch = batch;
  return CostModel::create(model(layers), cluster, train).value();
}

TEST(Megatron, EveryGroupIsTheSame) {
  const CostModel cost = cost_model({{"A100-40", 4}, {"H800", 4}}, 12, 32);
  const BaselinePlan found = megatron_plan(cost).value();
  EXPECT_TRUE(check_plan(found.plan, cost, "plan").ok());
  for (const DeviceGroup& group : found.plan.groups) {
    EXPECT_EQ(group.micro_batches, found.plan.groups[0].micro_batches);
    ASSERT_EQ(group.stages.size(), found.plan.groups[0].stages.size());
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      EXPECT_EQ(group.stages[s].layers, found.plan.groups[0].stages[s].layers);
    }
  }
}

TEST(Megatron, NoSymmetricPlanIsFaster) {
  // One type, tensor parallel 1: depth, groups and micro-batch are all there is. Enumerated here by depth and
  // by any number of groups, not only the greatest.
  const CostModel cost = cost_model({{"A100-40", 6}}, 6, 24);
  BaselineSpace space;
  space.tensor_parallel = {1};
  const BaselinePlan found = megatron_plan(cost, space).value();
  double fastest = 1e9;
  int tried = 0;
  for (int depth = 1; depth <= 6; ++depth) {
    if (6 % depth != 0) continue;
    for (int groups = 1; groups * depth <= 6; ++groups) {
      for (const std::int64_t micro_batch : {1, 2, 4, 8}) {
        for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
          if (24 % (micro_batch * groups) != 0) continue;
          Plan plan;
          plan.layers = 6;
          plan.parameters = cost.model().parameters();
          plan.sequence_length = 2048;
          plan.global_batch = 24;
          plan.precision = cost.precision();
          plan.micro_batch = micro_batch;
          plan.nodes = {{"A100-40", "A100-40", 6}};
          for (int g = 0; g < groups; ++g) {
            DeviceGroup& group = plan.groups.emplace_back();
            group.micro_batches = 24 / micro_batch / groups;
            for (int s = 0; s < depth; ++s) {
              Stage& stage = group.stages.emplace_back();
              stage.devices = {{0, g * depth + s}};
              stage.layers = 6 / depth;
              stage.first_layer = s * stage.layers;
              stage.recompute.assign(static_cast<std::size_t>(stage.layers), recompute);
            }
          }
          if (!check_plan(plan, cost, "plan").ok()) continue;
          ++tried;
          fastest = std::min(fastest, estimate(plan, cost).iteration_s);
        }
      }
    }
  }
  EXPECT_GT(tried, 10);
  EXPECT_LE(estimate(found.plan, cost).iteration_s, fastest * (1 + 1e-9));
}

TEST(Whale, LayersAndMicroBatchesFollowFlops) {
  // H800 has 3.17 times A100's peak: of 24 layers on one of each, 18.2 and 5.8.
  const CostModel cost = cost_model({{"A100-80", 1}, {"H800", 1}}, 24, 32);
  BaselineSpace space;
  space.tensor_parallel = {1};
  const BaselinePlan found = whale_plan(cost, space).value();
  EXPECT_TRUE(check_plan(found.plan, cost, "plan").ok());
  std::int64_t micro_batches = 0;
  for (const DeviceGroup& group : found.plan.groups) {
    micro_batches += group.micro_batches;
    if (group.stages.size() != 2) continue;
    for (const Stage& stage : group.stages) {
      const bool fast = found.plan.nodes[static_cast<std::size_t>(stage.devices[0].node)].device == "H800";
      EXPECT_EQ(stage.layers, fast ? 18 : 6);
    }
  }
  EXPECT_EQ(micro_batches * found.plan.micro_batch, 32);
}

TEST(Whale, NeverSlowerThanSymmetricOnOneType) {
  const CostModel cost = cost_model({{"A100-40", 4}}, 8, 16);
  const double whale = estimate(whale_plan(cost).value().plan, cost).iteration_s;
  const double megatron = estimate(megatron_plan(cost).value().plan, cost).iteration_s;
  EXPECT_LE(whale, megatron * 1.02);  // both equal cuts; Whale puts remainders elsewhere
}

TEST(Baselines, NothingFits) {
  const CostModel cost = cost_model({{"T4", 1}}, 60, 8);
  const Result<BaselinePlan> found = megatron_plan(cost);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), Code::kNotFound);
}

TEST(Layouts, ListsCoverChoicesAndOrders) {
  const CostModel cost = cost_model({{"A100-40", 2}, {"H800", 4}}, 8, 16);
  // {A}, {B}, {A, B}, {B, A}.
  const auto lists = unit_lists(cost, 2);
  ASSERT_EQ(lists.size(), 4U);
  std::size_t units = 0;
  for (const auto& list : lists) units += list.size();
  EXPECT_EQ(units, 1U + 2U + 3U + 3U);
  const auto inner = place(lists[3], 1, 3, false);
  EXPECT_EQ(inner[0].size(), 3U);
  const auto outer = place(unit_lists(cost, 1)[0], 2, 1, true);
  EXPECT_EQ(outer.size(), 2U);
}

}  // namespace
}  // namespace tessera::planner
