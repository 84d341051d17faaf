// Segments and communicators, against the owner of every single layer; and a plan of 4608 ranks.
#include "planner/plan/communicators.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "planner/plan/check_structure.h"
#include "tests/planner/plan/plan_fixture.h"

namespace tessera::planner {
namespace {

using testing::example;
using testing::plan_of;

std::vector<int> values(const std::vector<Rank>& ranks) {
  std::vector<int> found;
  for (const Rank rank : ranks) found.push_back(rank.value);
  return found;
}

/// Ranks that hold a layer (-1: the embedding, L: the head), from the stages directly.
std::set<int> holders(const Plan& plan, int layer, int tensor) {
  std::set<int> found;
  int rank = 0;
  for (const DeviceGroup& group : plan.groups) {
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      const Stage& stage = group.stages[s];
      const bool first = s == 0;
      const bool last = s + 1 == group.stages.size();
      const bool holds = layer < 0 ? first || (plan.tied_embeddings && last)
                         : layer == plan.layers
                             ? last
                             : layer >= stage.first_layer && layer < stage.first_layer + stage.layers;
      for (int cell = 0; cell < plan.context.ranks(); ++cell) {
        for (int t = 0; t < plan.tensor_parallel; ++t, ++rank) {
          if (holds && t == tensor) found.insert(rank);
        }
      }
    }
  }
  return found;
}

/// Every layer, the embedding and the head in exactly one segment, whose communicator has exactly the
/// holders; segments maximal, in descending order.
void expect_segments_cover(const Plan& plan) {
  const auto segments = derive_segments(plan);
  std::map<std::pair<int, int>, std::set<int>> members;  // by segment and tensor rank
  for (const CommunicatorGroup& group : derive_communicators(plan)) {
    EXPECT_GT(group.ranks.size(), 1U);
    EXPECT_TRUE(std::is_sorted(group.ranks.begin(), group.ranks.end()));
    if (group.kind != CommunicatorKind::kSegment) continue;
    const int tensor = group.ranks.front().value % plan.tensor_parallel;
    const auto ranks = values(group.ranks);
    members[{group.index, tensor}] = std::set<int>(ranks.begin(), ranks.end());
  }
  std::vector<int> layer_count(static_cast<std::size_t>(plan.layers), 0);
  int embeddings = 0;
  int heads = 0;
  int before = plan.layers;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    std::vector<int> held;
    for (int layer = segment.first_layer; layer < segment.first_layer + segment.layers; ++layer)
      held.push_back(layer);
    for (const int layer : held) ++layer_count[static_cast<std::size_t>(layer)];
    if (segment.embedding) held.push_back(-1);
    if (segment.head) held.push_back(plan.layers);
    embeddings += segment.embedding ? 1 : 0;
    heads += segment.head ? 1 : 0;
    for (int tensor = 0; tensor < plan.tensor_parallel; ++tensor) {
      for (const int layer : held) {
        const auto expected = holders(plan, layer, tensor);
        const auto at = members.find({static_cast<int>(i), tensor});
        if (expected.size() > 1) {
          ASSERT_NE(at, members.end());
          EXPECT_EQ(at->second, expected) << "layer " << layer;
        } else {
          EXPECT_EQ(at, members.end());
        }
      }
    }
    if (segment.tied) {
      EXPECT_EQ(i + 1, segments.size());
      EXPECT_TRUE(plan.tied_embeddings);
      continue;
    }
    EXPECT_EQ(segment.first_layer + segment.layers, before) << "descending and gapless";
    before = segment.first_layer;
    if (i > 0) {
      EXPECT_NE(segment.owners, segments[i - 1].owners) << "maximal";
    }
  }
  EXPECT_EQ(before, 0);
  EXPECT_EQ(embeddings, 1);
  EXPECT_EQ(heads, 1);
  for (const int count : layer_count) EXPECT_EQ(count, 1);
}

TEST(Segments, AreThoseOfTheHeader) {
  const auto segments = derive_segments(example());
  ASSERT_EQ(segments.size(), 3U);
  EXPECT_EQ(segments[0].first_layer, 3);
  EXPECT_EQ(segments[1].first_layer, 2);
  EXPECT_EQ(segments[2].first_layer, 0);
  EXPECT_EQ(segments[1].owners, (std::vector<std::vector<int>>{{1}, {0}}));
  expect_segments_cover(example());
}

TEST(Segments, OfRandomPlansHaveExactlyTheHolders) {
  std::mt19937_64 random(5);
  const auto integer = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  for (int i = 0; i < 200; ++i) {
    SCOPED_TRACE(i);
    const int layers = integer(1, 12);
    std::vector<std::vector<int>> cuts;
    for (int j = integer(1, 5); j > 0; --j) {
      std::vector<int> cut;
      for (int left = layers; left > 0; left -= cut.back()) cut.push_back(integer(1, left));
      cuts.push_back(cut);
    }
    const int degree = integer(1, 2);
    Plan plan = plan_of(degree, MeshShape::mesh(integer(1, 2), integer(1, 2)), cuts, 200, 4);
    plan.tied_embeddings = integer(0, 1) == 1;
    ASSERT_TRUE(check_structure(plan, "plan").ok()) << check_structure(plan, "plan").message();
    expect_segments_cover(plan);
  }
}

TEST(Communicators, OfAStageAreTensorContextAndPipeline) {
  // 12 ranks of plan.h's example.
  const Plan plan = plan_of(2, MeshShape::mesh(1, 2), {{1, 1}, {2}}, 2, 6);
  std::map<CommunicatorKind, std::vector<std::vector<int>>> groups;
  for (const auto& group : derive_communicators(plan)) groups[group.kind].push_back(values(group.ranks));
  using Groups = std::vector<std::vector<int>>;
  EXPECT_EQ(groups[CommunicatorKind::kTensor], (Groups{{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}, {10, 11}}));
  EXPECT_EQ(groups[CommunicatorKind::kContext], (Groups{{0, 2}, {1, 3}, {4, 6}, {5, 7}, {8, 10}, {9, 11}}));
  EXPECT_EQ(groups[CommunicatorKind::kPipeline], (Groups{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(groups[CommunicatorKind::kSegment],
            (Groups{{4, 6, 8, 10}, {5, 7, 9, 11}, {0, 2, 8, 10}, {1, 3, 9, 11}}));
}

TEST(Communicators, A4608RankPlanIsBuiltCheckedPrintedAndDerived) {
  // 4608 = 8 tensor x 2 context x 288 stages: 24 groups of 8, 10, 12, 14 or 16 stages over 96 layers.
  std::vector<std::vector<int>> cuts;
  for (const int depth : {8, 16, 12, 12, 10, 14}) {
    std::vector<int> cut(static_cast<std::size_t>(depth), 96 / depth);
    for (int i = 0; i < 96 % depth; ++i) ++cut[static_cast<std::size_t>(i)];
    for (int copy = 0; copy < 4; ++copy) cuts.push_back(cut);
  }
  Plan plan = plan_of(8, MeshShape::mesh(1, 2), cuts, 576, 8);
  plan.tied_embeddings = true;
  ASSERT_EQ(plan.ranks(), 4608);
  EXPECT_TRUE(check_structure(plan, "plan").ok());
  EXPECT_EQ(parse_plan(to_plan_json(plan), "plan.json").value(), plan);
  EXPECT_GT(std::count(to_text(plan).begin(), to_text(plan).end(), '\n'), 288);
  expect_segments_cover(plan);
  // At most 1 + sum of (depth - 1) segments, and the tied embedding.
  EXPECT_LE(derive_segments(plan).size(), 1U + 4 * (7 + 15 + 11 + 11 + 9 + 13) + 1);
  // Every rank is in one group of each kind, and in the segments that its stage holds.
  std::map<CommunicatorKind, std::vector<int>> times;
  for (auto kind : {CommunicatorKind::kTensor, CommunicatorKind::kContext, CommunicatorKind::kPipeline}) {
    times[kind].assign(4608, 0);
  }
  for (const auto& group : derive_communicators(plan)) {
    if (group.kind == CommunicatorKind::kSegment) continue;
    for (const Rank rank : group.ranks) ++times[group.kind][static_cast<std::size_t>(rank.value)];
  }
  for (const auto& [kind, counts] : times) {
    EXPECT_EQ(std::count(counts.begin(), counts.end(), 1), 4608);
  }
}

}  // namespace
}  // namespace tessera::planner
