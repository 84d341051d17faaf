// Each rule of a legal plan, broken once.
#include "planner/plan/check_structure.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/planner/plan/plan_fixture.h"

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;
using testing::plan_of;

struct World {
  ModelSpec model;
  ClusterSpec cluster;
  TrainSpec train;
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
  made.cluster =
      parse_cluster_spec(R"({"nodes": [{"name": "n", "gpu": "CPU", "count": 4, "nodes": 3}]})", "c").value();
  made.train.sequence_length = 64;
  made.train.global_batch = 6;
  made.plan = plan_of(2, MeshShape::mesh(1, 1), {{2, 2}, {3, 1}}, 3, 4);
  made.plan.parameters = made.model.parameters();
  for (std::size_t i = 0; i < 3; ++i) made.plan.nodes[i].name = made.cluster.nodes[i].name;
  return made;
}

TEST(CheckStructure, AcceptsALegalPlan) {
  const World made = world();
  EXPECT_TRUE(check_structure(made.plan, "plan").ok());
  const Status status = check_structure(made.plan, "plan", made.model, made.cluster, made.train);
  EXPECT_TRUE(status.ok()) << status.message();
}

struct Break {
  const char* name;
  std::function<void(World&)> change;
  const char* field;
  bool alone;  // visible without model, cluster and training run
};

class Broken : public ::testing::TestWithParam<Break> {};

TEST_P(Broken, IsRefusedByName) {
  World made = world();
  GetParam().change(made);
  const Status whole = check_structure(made.plan, "my plan", made.model, made.cluster, made.train);
  ASSERT_FALSE(whole.ok());
  EXPECT_THAT(whole.message(), HasSubstr("my plan"));
  EXPECT_THAT(whole.message(), HasSubstr(GetParam().field));
  EXPECT_EQ(check_structure(made.plan, "my plan").ok(), !GetParam().alone);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Broken,
    ::testing::Values(
        Break{"no_groups", [](World& w) { w.plan.groups.clear(); }, "groups", true},
        Break{"no_stages", [](World& w) { w.plan.groups[1].stages.clear(); }, "groups[1].stages", true},
        Break{"gap", [](World& w) { w.plan.groups[0].stages[1].first_layer = 3; }, "stages[1].first_layer",
              true},
        Break{"overlap", [](World& w) { w.plan.groups[0].stages[1].first_layer = 1; }, "first_layer", true},
        Break{"missing_layer",
              [](World& w) {
                w.plan.groups[0].stages[1].layers = 1;
                w.plan.groups[0].stages[1].recompute.resize(1);
              },
              "groups[0].stages", true},
        Break{"too_many_layers", [](World& w) { w.plan.groups[0].stages[1].layers = 3; }, "layers", true},
        Break{"empty_stage", [](World& w) { w.plan.groups[0].stages[0].layers = 0; }, "layers", true},
        Break{"recompute_count", [](World& w) { w.plan.groups[0].stages[0].recompute.pop_back(); },
              "recompute", true},
        Break{"device_twice",
              [](World& w) { w.plan.groups[1].stages[0].devices = w.plan.groups[0].stages[0].devices; },
              "a second time", true},
        Break{"no_such_device", [](World& w) { w.plan.groups[1].stages[0].devices[1].device = 9; },
              "device 9", true},
        Break{"no_such_node", [](World& w) { w.plan.groups[1].stages[0].devices[1].node = -1; }, "node -1",
              true},
        Break{"too_few_devices", [](World& w) { w.plan.groups[1].stages[0].devices.pop_back(); }, "1 devices",
              true},
        Break{"cell_across_nodes",
              [](World& w) {
                w.plan.groups[1].stages[1].devices = {{1, 3}, {2, 0}};
              },
              "tensor-parallel ranks of a cell", true},
        Break{"batch", [](World& w) { w.plan.groups[0].micro_batches = 4; }, "global_batch", true},
        Break{"no_micro_batch", [](World& w) { w.plan.groups[0].micro_batches = 0; }, "micro_batches", true},
        Break{"degree", [](World& w) { w.plan.tensor_parallel = 0; }, "tensor_parallel", true},
        Break{"same_names", [](World& w) { w.plan.nodes[1].name = w.plan.nodes[0].name; }, "nodes[1].name",
              true},
        Break{"other_model", [](World& w) { w.model.layers = 5; }, "layers", false},
        Break{"other_size", [](World& w) { w.model.vocab_size = 512; }, "parameters", false},
        Break{"tied", [](World& w) { w.plan.tied_embeddings = true; }, "tied_embeddings", false},
        Break{"heads",
              [](World& w) {
                w.model.kv_heads = 1;
                w.plan.parameters = w.model.parameters();
              },
              "key/value heads", false},
        Break{"other_batch", [](World& w) { w.train.global_batch = 12; }, "global_batch", false},
        Break{"other_sequence", [](World& w) { w.train.sequence_length = 65; }, "sequence_length", false},
        Break{"node_gone", [](World& w) { w.cluster.nodes.pop_back(); }, "nodes", false},
        Break{"node_renamed", [](World& w) { w.cluster.nodes[1].name = "x"; }, "nodes[1].name", false},
        Break{"node_smaller", [](World& w) { w.cluster.nodes[1].devices = 2; }, "nodes[1].devices", false},
        Break{"format", [](World& w) { w.plan.precision = Precision::kBf16; }, "precision", false}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tessera::planner
