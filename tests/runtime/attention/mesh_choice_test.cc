#include "runtime/attention/mesh_choice.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

const MeshCandidate* find(const std::vector<MeshCandidate>& candidates, const char* text) {
  const MeshShape shape = parse_mesh_shape(text).value();
  const auto at = std::ranges::find(candidates, shape, &MeshCandidate::shape);
  return at == candidates.end() ? nullptr : &*at;
}

/// Without nodes: the best flat shapes of docs/mesh_attention.md, by bytes alone.
TEST(MeshChoice, FlatMeshesByBytes) {
  for (const auto& [ranks, kv_heads, best] :
       {std::tuple(8, 32, "4x2"), {16, 32, "4x4"}, {16, 8, "2x8"}, {64, 8, "4x16"}, {7, 32, "7x1"}}) {
    MeshQuestion question;
    question.ranks = ranks;
    question.dims = {1, 16 * ranks, 32, kv_heads, 128};
    const auto candidates = rank_meshes(question);
    EXPECT_EQ(to_string(candidates.front().shape), best);
    EXPECT_EQ(candidates.size(), all_meshes(ranks).size());
    for (const MeshCandidate& c : candidates) {
      std::int64_t sent = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
          sent += attention_volume(pass, c.shape, question.layout, question.dims, rank).sent();
        }
      }
      EXPECT_EQ(c.sent, sent) << to_string(c.shape);  // zigzag, causal: every chunk sees every other
      EXPECT_EQ(c.across, 0);
    }
    // A node that holds all ranks changes nothing.
    question.ranks_per_node = ranks;
    EXPECT_EQ(to_string(rank_meshes(question).front().shape), best);
  }
}

/// 256 ranks in nodes of 8, slow links between them: one of the two layouts that cross them least, with a
/// third of what double ring and USP carry across, and less than any flat mesh.
TEST(MeshChoice, NodesChangeTheChoice) {
  MeshQuestion question;
  question.ranks = 256;
  question.ranks_per_node = 8;
  question.dims = {1, 2048, 32, 32, 128};
  question.node_gb_per_s = 8 * 45;
  question.rank_gb_per_s = 300;
  const auto candidates = rank_meshes(question);
  const MeshCandidate& best = candidates.front();
  // With the backward pass a hop of Q, dO, dQ costs less than one of K, V, dK, dV: 8 groups of Q rather
  // than 4.
  EXPECT_EQ(to_string(best.shape), "(8.8)x4");
  for (const char* text : {"(4.8)x8", "16x16", "8x32", "1x(32.8)", "u8:1x32", "u8:8x4", "1x256"}) {
    ASSERT_NE(find(candidates, text), nullptr) << text;
  }
  EXPECT_EQ(find(candidates, "u8:8x4")->across, best.across);
  for (const char* rival : {"1x(32.8)", "u8:1x32"}) {
    EXPECT_LE(3 * best.across, find(candidates, rival)->across) << rival;
  }
  for (const MeshShape& flat : all_meshes(256)) {
    EXPECT_LT(best.seconds, find(candidates, to_string(flat).c_str())->seconds) << to_string(flat);
  }
  for (const MeshCandidate& c : candidates) {
    EXPECT_EQ(c.across, node_crossing_bytes(Pass::kForward, c.shape, question.layout, question.dims, 8) +
                            node_crossing_bytes(Pass::kBackward, c.shape, question.layout, question.dims, 8));
  }
  // Where links inside a node are slow as well, 56 hops of Q there cost more than the exchange of heads.
  question.rank_gb_per_s = 20;
  EXPECT_EQ(to_string(rank_meshes(question).front().shape), "u8:8x4");
  // Heads that do not divide leave the hierarchical ring.
  question.dims.heads = question.dims.kv_heads = 31;
  for (const MeshCandidate& c : rank_meshes(question)) EXPECT_EQ(c.shape.heads, 1);
}

/// By hand: two nodes of two ranks, 4 heads of width 3, 8 tokens in all, one sequence. A = 2 * 4 * 3 * 4 = 96
/// bytes, L = 32, K with V 192.
TEST(MeshChoice, TimesByHand) {
  MeshQuestion question;
  question.ranks = 4;
  question.ranks_per_node = 2;
  question.dims = {1, 8, 4, 4, 3};
  question.causal = false;
  question.rank_gb_per_s = 2;
  question.node_gb_per_s = 1;
  const auto candidates = rank_meshes(question);
  // Ring: of a node's two ranks one sends across, 3 hops of (192 forward, 192 + 192 backward).
  const MeshCandidate* ring = find(candidates, "1x4");
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(ring->busiest_node, 3 * 576);
  EXPECT_EQ(ring->busiest_rank, 3 * 576);
  EXPECT_DOUBLE_EQ(ring->seconds, 3 * 576e-9);
  // 2x2: the Q ring is a node; each rank sends one hop of K and V across.
  const MeshCandidate* mesh = find(candidates, "2x2");
  ASSERT_NE(mesh, nullptr);
  EXPECT_EQ(mesh->busiest_node, 2 * 576);
  EXPECT_EQ(mesh->busiest_rank, (96 + 96 + 32) + (2 * 96 + 2 * 32 + 96));
  EXPECT_DOUBLE_EQ(mesh->seconds, 2 * 576e-9);
  // u2:1x2: half the exchanged bytes stay; the exchange is timed apart, at the rank's speed.
  const MeshCandidate* usp = find(candidates, "u2:1x2");
  ASSERT_NE(usp, nullptr);
  const double exchange = ((96 + 192) + (96 + 32) + (2 * 96 + 2 * 32 + 192) + (96 + 192)) / 2.0;
  EXPECT_DOUBLE_EQ(usp->seconds, exchange / 2e9 + 2 * 576e-9);
}

/// A window makes a ring of neighbours the cheapest of all where chunks are contiguous.
TEST(MeshChoice, AWindowMakesARing) {
  MeshQuestion question;
  question.ranks = 16;
  question.layout = TokenLayout::kContiguous;
  question.dims = {1, 1024, 8, 2, 64};
  question.window = 60;
  EXPECT_EQ(to_string(rank_meshes(question).front().shape), "1x16");
  question.window = 0;
  EXPECT_NE(to_string(rank_meshes(question).front().shape), "1x16");
}

TEST(MeshChoice, TheTableNamesTheReason) {
  MeshQuestion question;
  question.ranks = 16;
  question.ranks_per_node = 4;
  question.dims = {1, 1024, 8, 8, 64};
  const auto candidates = rank_meshes(question);
  const std::string table = mesh_table(question, candidates, 3);
  EXPECT_NE(table.find(to_string(candidates[2].shape)), std::string::npos) << table;
  EXPECT_NE(table.find("... and"), std::string::npos) << table;
  EXPECT_NE(table.find("chosen: " + to_string(candidates[0].shape)), std::string::npos) << table;
  EXPECT_NE(table.find("across nodes"), std::string::npos) << table;
  question.ranks_per_node = 0;
  EXPECT_NE(mesh_table(question, rank_meshes(question), 9).find("fewest bytes"), std::string::npos);
}

}  // namespace
}  // namespace tessera::runtime
