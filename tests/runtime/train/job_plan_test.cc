#include "runtime/train/job_plan.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

TEST(RanksPerNode, EquallyManyConsecutiveRanks) {
  EXPECT_EQ(uniform_ranks_per_node({}), 0);
  EXPECT_EQ(uniform_ranks_per_node({"a"}), 1);
  EXPECT_EQ(uniform_ranks_per_node({"a", "a", "a"}), 3);
  EXPECT_EQ(uniform_ranks_per_node({"a", "b", "c"}), 1);
  EXPECT_EQ(uniform_ranks_per_node({"b", "b", "a", "a"}), 2);
  EXPECT_EQ(uniform_ranks_per_node({"a", "a", "b"}), 0);       // unequal
  EXPECT_EQ(uniform_ranks_per_node({"a", "b", "a", "b"}), 0);  // round robin
  EXPECT_EQ(uniform_ranks_per_node({"a", "a", "b", "b", "b", "b", "c", "c"}), 0);
  EXPECT_EQ(uniform_ranks_per_node({"a", "a", "b", "a"}), 0);
}

TEST(MeshQuestion, NodesAsContextRanksSeeThem) {
  planner::TrainSpec spec;
  spec.sequence_length = 512;
  spec.micro_batch = 3;
  spec.window = 100;
  spec.tensor_parallel = 2;
  spec.ranks_per_node = 8;
  planner::ModelSpec model;
  model.heads = 8;
  model.kv_heads = 4;
  model.head_dim = 16;
  const MeshQuestion question = mesh_question(spec, model, TokenLayout::kStriped, 16);
  EXPECT_EQ(question.ranks, 16);
  EXPECT_EQ(question.ranks_per_node, 4);  // two tensor ranks each
  EXPECT_EQ(question.layout, TokenLayout::kStriped);
  EXPECT_EQ(question.dims.heads, 4);
  EXPECT_EQ(question.dims.kv_heads, 2);
  EXPECT_EQ(question.dims.batch, 3);
  EXPECT_EQ(question.window, 100);
  spec.ranks_per_node = 7;  // a cell would lie on two nodes
  EXPECT_EQ(mesh_question(spec, model, TokenLayout::kStriped, 16).ranks_per_node, 0);
}

}  // namespace
}  // namespace tessera::runtime
