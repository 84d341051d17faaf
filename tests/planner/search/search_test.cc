// Whole plans from models and clusters: legal, within memory, bounded, reproducible, explained when
// impossible.
#include "planner/search/search.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/cost/estimate.h"
#include "planner/search/stage_choice.h"

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;

ModelSpec llama(std::int64_t width, std::int64_t inner, int layers, int heads, int kv_heads) {
  ModelSpec model;
  model.hidden_size = width;
  model.intermediate_size = inner;
  model.layers = layers;
  model.heads = heads;
  model.kv_heads = kv_heads;
  model.head_dim = static_cast<int>(width / heads);
  model.vocab_size = 32000;
  return model;
}

ClusterSpec cluster_of(const std::string& nodes) {
  const auto cluster = parse_cluster_spec(R"({"nodes": [)" + nodes + "]}", "cluster.json");
  EXPECT_TRUE(cluster.ok()) << cluster.status().message();
  return cluster.value();
}

TrainSpec batch_of(std::int64_t sequences, std::int64_t tokens = 2048) {
  TrainSpec train;
  train.sequence_length = tokens;
  train.global_batch = sequences;
  return train;
}

CostModel cost_of(const ModelSpec& model, const ClusterSpec& cluster, const TrainSpec& train) {
  return CostModel::create(model, cluster, train).value();
}

const char* const kMixed =
    R"({"name": "h", "gpu": "H800", "count": 8, "network_gb_per_s": 50},
       {"name": "a", "gpu": "A100-40", "count": 8, "network_gb_per_s": 50},
       {"name": "x", "gpu": "H20", "count": 8, "network_gb_per_s": 50})";

TEST(Search, MixedNodesGiveALegalBoundedPlan) {
  const CostModel cost = cost_of(llama(4096, 11008, 16, 32, 32), cluster_of(kMixed), batch_of(32));
  const auto found = search_plan(cost);
  ASSERT_TRUE(found.ok()) << found.status().message();
  const Plan& plan = found->plan;
  EXPECT_TRUE(check_plan(plan, cost, "plan").ok()) << check_plan(plan, cost, "plan").message();
  EXPECT_GT(plan.expected.evaluated, 0);
  EXPECT_GT(plan.expected.lower_bound_s, 0);
  EXPECT_LE(plan.expected.lower_bound_s, plan.expected.iteration_s);
  EXPECT_NEAR(plan.expected.gap, 1 - plan.expected.lower_bound_s / plan.expected.iteration_s, 1e-12);
  // The expectations are those of the plan as it stands.
  EXPECT_DOUBLE_EQ(estimate(plan, cost).iteration_s, plan.expected.iteration_s);
  // And the same question has the same answer.
  EXPECT_EQ(plan_differences(search_plan(cost)->plan, plan), "");
}

TEST(Search, EqualMicroBatchesAreEqualAndNeverBeatUnequalOnes) {
  const CostModel cost = cost_of(llama(4096, 11008, 32, 32, 32), cluster_of(kMixed), batch_of(64));
  SearchOptions options;
  options.tensor_parallel = {1};
  options.micro_batches = {1};
  const auto unequal = search_plan(cost, options);
  options.mode = MicroBatchMode::kEqual;
  const auto equal = search_plan(cost, options);
  ASSERT_TRUE(unequal.ok() && equal.ok());
  for (const DeviceGroup& group : equal->plan.groups) {
    EXPECT_EQ(group.micro_batches, equal->plan.groups.front().micro_batches);
  }
  EXPECT_LE(unequal->candidates.front().lower_bound_s, equal->candidates.front().lower_bound_s * (1 + 1e-9));
}

TEST(Search, TheBoundHoldsForEveryPlanOfASmallSpace) {
  // Two device types, all shapes: no shape's plan is faster than the bound of the whole, or than its own.
  const CostModel cost =
      cost_of(llama(1024, 2816, 6, 16, 16), cluster_of(R"({"name": "h", "gpu": "H100", "count": 2},
                                               {"name": "l", "gpu": "L4", "count": 2})"),
              batch_of(16, 512));
  const auto best = search_plan(cost);
  ASSERT_TRUE(best.ok());
  for (const int degree : {1, 2}) {
    for (const std::int64_t size : {1, 2, 4, 8}) {
      SearchOptions options;
      options.tensor_parallel = {degree};
      options.micro_batches = {size};
      const auto found = search_plan(cost, options);
      ASSERT_TRUE(found.ok());
      EXPECT_GE(found->plan.expected.iteration_s, best->plan.expected.lower_bound_s);
      EXPECT_GE(found->plan.expected.iteration_s, found->plan.expected.lower_bound_s);
      EXPECT_GE(found->plan.expected.iteration_s, best->plan.expected.iteration_s * (1 - 1e-12));
    }
  }
}

TEST(Search, ADeviceThatOnlySlowsStaysIdle) {
  const CostModel cost = cost_of(llama(512, 1408, 2, 8, 8),
                                 cluster_of(R"({"name": "fast", "gpu": {"name": "fast", "gflops": 1000000,
                                                "memory_gb": 80, "memory_gb_per_s": 3000}, "count": 1},
                                               {"name": "slow", "gpu": {"name": "slow", "gflops": 10,
                                                "memory_gb": 80, "memory_gb_per_s": 3000}, "count": 1})"),
                                 batch_of(8, 512));
  const auto found = search_plan(cost);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->plan.ranks(), 1);
  EXPECT_EQ(found->plan.groups.front().stages.front().devices.front().node, 0);
}

TEST(Search, MemoryForcesRecomputationAndItIsPlanned) {
  const ModelSpec model = llama(2048, 5632, 8, 16, 16);
  const auto plan_with = [&](double gigabytes) {
    const ClusterSpec cluster =
        cluster_of(R"({"gpu": {"name": "g", "gflops": 100000, "memory_gb": )" + std::to_string(gigabytes) +
                   R"(, "memory_gb_per_s": 1000, "peer_gb_per_s": 100}, "count": 2})");
    SearchOptions options;
    options.tensor_parallel = {1};
    options.micro_batches = {4};
    return search_plan(cost_of(model, cluster, batch_of(16, 2048)), options);
  };
  const auto recomputed = [](const Plan& plan) {
    std::int64_t count = 0;
    for (const DeviceGroup& group : plan.groups) {
      for (const Stage& stage : group.stages) {
        count += std::count(stage.recompute.begin(), stage.recompute.end(), Recompute::kSelective);
      }
    }
    return count;
  };
  const auto roomy = plan_with(80);
  const auto tight = plan_with(9);
  const auto tiny = plan_with(1);
  ASSERT_TRUE(roomy.ok()) << roomy.status().message();
  ASSERT_TRUE(tight.ok()) << tight.status().message();
  EXPECT_EQ(recomputed(roomy->plan), 0);
  EXPECT_GT(recomputed(tight->plan), 0);
  EXPECT_GT(tight->plan.expected.iteration_s, roomy->plan.expected.iteration_s);
  ASSERT_FALSE(tiny.ok());
  EXPECT_EQ(tiny.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(tiny.status().message(), HasSubstr("alone needs"));
  EXPECT_THAT(tiny.status().message(), HasSubstr("with recomputation"));
}

TEST(Search, StopsOnDemandWithTheBestSoFar) {
  const CostModel cost = cost_of(llama(4096, 11008, 16, 32, 32), cluster_of(kMixed), batch_of(32));
  SearchOptions options;
  bool stop = false;
  int reports = 0;
  options.progress = [&](const SearchProgress& progress) {
    ++reports;
    stop = stop || progress.best_s > 0;
    EXPECT_LE(progress.lower_bound_s, progress.best_s > 0 ? progress.best_s : kInfinite);
  };
  options.cancelled = [&] { return stop; };
  const auto found = search_plan(cost, options);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_TRUE(found->cancelled);
  EXPECT_GE(reports, 2);
  EXPECT_TRUE(check_plan(found->plan, cost, "plan").ok());
  // What was not looked at is covered by the bound.
  EXPECT_LE(found->plan.expected.lower_bound_s, search_plan(cost)->plan.expected.lower_bound_s * (1 + 1e-9));

  stop = true;
  EXPECT_FALSE(search_plan(cost, options).ok());
}

TEST(Search, ContextMeshesAreTriedForLongSequences) {
  const CostModel cost = cost_of(llama(2048, 5632, 4, 16, 16),
                                 cluster_of(R"({"gpu": "A100-40", "count": 4})"), batch_of(1, 65536));
  const auto found = search_plan(cost);
  ASSERT_TRUE(found.ok()) << found.status().message();
  // One sequence on four devices: neither groups nor micro-batches can share it out.
  EXPECT_GT(found->plan.tensor_parallel * found->plan.context.ranks(), 1);
  EXPECT_TRUE(check_plan(found->plan, cost, "plan").ok());
}

TEST(Search, LargeClustersStayWithinTheirGap) {
  const CostModel cost =
      cost_of(llama(8192, 22016, 96, 64, 8),
              cluster_of(R"({"name": "h", "gpu": "H800", "count": 8, "nodes": 20, "network_gb_per_s": 400},
                                               {"name": "a", "gpu": "A100-80", "count": 8, "nodes": 22, "network_gb_per_s": 400},
                                               {"name": "x", "gpu": "H20", "count": 8, "nodes": 22, "network_gb_per_s": 400})"),
              batch_of(2048, 4096));
  SearchOptions options;
  options.tensor_parallel = {4};
  options.micro_batches = {1};
  const auto found = search_plan(cost, options);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_TRUE(check_plan(found->plan, cost, "plan").ok());
  // What the search itself answers for; the reduction comes on top of it.
  const CandidateReport& report = found->candidates.front();
  EXPECT_LE(report.pipeline_s, report.lower_bound_s * 1.02);
}

// The cheapest recomputation of a stage against all choices of its layers.
TEST(StageChooser, FindsTheCheapestRecomputationThatFits) {
  const ClusterSpec cluster = cluster_of(
      R"({"gpu": {"name": "g", "gflops": 100000, "memory_gb": 1.5, "memory_gb_per_s": 1000}, "count": 1})");
  const CostModel cost = cost_of(llama(1024, 2816, 8, 16, 16), cluster, batch_of(8, 2048));
  const StageShape shape{1, {}, 2};
  const std::vector<Recompute> all{Recompute::kNone, Recompute::kSelective, Recompute::kFull};
  const StageChooser stages(cost, shape, {0, 1}, 4, all);
  const double capacity = cost.capacity_bytes({0, 1});
  int recomputing = 0;
  int impossible = 0;
  for (int count = 1; count <= 6; ++count) {
    for (std::int64_t in_flight = 1; in_flight <= 8; ++in_flight) {
      // Of layers that are alike only the numbers count.
      double best = kInfinite;
      for (int part = 0; part <= count; ++part) {
        for (int full = 0; full + part <= count; ++full) {
          double seconds = 0;
          double kept = 0;
          double again = 0;
          double base = cost.edge_activation_bytes(shape, false, false) * static_cast<double>(in_flight);
          for (int i = 0; i < count; ++i) {
            const Recompute choice = i < part          ? Recompute::kSelective
                                     : i < part + full ? Recompute::kFull
                                                       : Recompute::kNone;
            const LayerCost layer = cost.decoder({0, 1}, shape, i, choice);
            const LayerCost keeps = cost.decoder({0, 1}, shape, i, Recompute::kNone);
            seconds += layer.forward_s + layer.backward_s;
            kept += static_cast<double>(in_flight) * layer.activation_bytes;
            again = std::max(again, keeps.activation_bytes - layer.activation_bytes);
            base +=
                layer.parameters * cost.state_bytes_per_parameter(4) + (i == 0 ? layer.workspace_bytes : 0);
          }
          if (base + kept + again <= capacity) best = std::min(best, seconds);
        }
      }
      const auto fit = stages.fit(1, count, false, false, in_flight);
      ASSERT_EQ(fit.has_value(), best < kInfinite) << count << " layers, " << in_flight << " in flight";
      if (!fit) {
        ++impossible;
        continue;
      }
      EXPECT_NEAR(fit->seconds, best, 1e-9 * best);
      recomputing +=
          std::count(fit->recompute.begin(), fit->recompute.end(), Recompute::kNone) < count ? 1 : 0;
    }
  }
  EXPECT_GT(recomputing, 5);  // the sweep crosses both edges
  EXPECT_GT(impossible, 0);
}

}  // namespace
}  // namespace tessera::planner
