#include "runtime/parallel/job_groups.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/comm/local_comm.h"

namespace tessera::runtime {
namespace {

/// The header's example: t = 2, mesh 1x2, groups of 2 and 1 stages over 4 layers.
planner::Plan example(bool tied) {
  planner::Plan plan;
  plan.layers = 4;
  plan.tied_embeddings = tied;
  plan.tensor_parallel = 2;
  plan.context = parse_mesh_shape("1x2").value();
  int device = 0;
  const auto stage = [&](int first, int layers) {
    planner::Stage stage;
    stage.first_layer = first;
    stage.layers = layers;
    for (int i = 0; i < 4; ++i) stage.devices.push_back({0, device++});
    return stage;
  };
  plan.groups.push_back({1, {stage(0, 3), stage(3, 1)}, 0, 0});
  plan.groups.push_back({1, {stage(0, 4)}, 0, 0});
  plan.nodes = {{"node", "cpu", device}};
  return plan;
}

std::set<int> members(const Communicator& comm) {
  std::set<int> ranks;
  for (int r = 0; r < comm.size(); ++r) ranks.insert(comm.root_rank(Rank(r)).value);
  return ranks;
}

TEST(JobGroups, AreThoseOfTheHeadersExample) {
  const planner::Plan plan = example(false);
  run_local_ranks(plan.ranks(), [&](Communicator& world) {
    const JobGroups groups = make_job_groups(world, plan);
    if (world.rank() != Rank(6)) return;
    EXPECT_EQ(groups.place.group, 0);
    EXPECT_EQ(groups.place.stage, 1);
    EXPECT_EQ(groups.place.cell, 1);
    EXPECT_EQ(groups.place.tensor, 0);
    EXPECT_EQ(members(*groups.tensor), (std::set<int>{6, 7}));
    EXPECT_EQ(members(*groups.context), (std::set<int>{4, 6}));
    EXPECT_EQ(groups.previous, Rank(2));
    EXPECT_EQ(groups.next, Rank(-1));
    ASSERT_EQ(groups.segments.size(), 1U);
    EXPECT_EQ(groups.segments[0].segment.first_layer, 3);
    EXPECT_TRUE(groups.segments[0].segment.head);
    EXPECT_EQ(members(*groups.segments[0].replicas), (std::set<int>{4, 6, 8, 10}));
  });
}

/// Every rank's communicators are the plan's pure derivation, which knows nothing of splits.
TEST(JobGroups, AgreeWithThePlansDerivation) {
  for (const bool tied : {false, true}) {
    const planner::Plan plan = example(tied);
    std::map<std::pair<planner::CommunicatorKind, int>, std::set<std::set<int>>> expected;
    for (const planner::CommunicatorGroup& group : planner::derive_communicators(plan)) {
      std::set<int> ranks;
      for (const Rank rank : group.ranks) ranks.insert(rank.value);
      const int index = group.kind == planner::CommunicatorKind::kSegment ? group.index : 0;
      expected[{group.kind, index}].insert(ranks);
    }
    std::mutex mutex;
    std::map<std::pair<planner::CommunicatorKind, int>, std::set<std::set<int>>> actual;
    const std::vector<planner::Segment> segments = planner::derive_segments(plan);
    run_local_ranks(plan.ranks(), [&](Communicator& world) {
      const JobGroups groups = make_job_groups(world, plan);
      const std::lock_guard lock(mutex);
      actual[{planner::CommunicatorKind::kTensor, 0}].insert(members(*groups.tensor));
      actual[{planner::CommunicatorKind::kContext, 0}].insert(members(*groups.context));
      for (const SegmentReplicas& part : groups.segments) {
        const auto index = std::ranges::find(segments, part.segment) - segments.begin();
        actual[{planner::CommunicatorKind::kSegment, static_cast<int>(index)}].insert(
            members(*part.replicas));
      }
    });
    expected.erase(
        {planner::CommunicatorKind::kPipeline, 0});  // messages of `world`, no communicator of its own
    EXPECT_EQ(actual, expected) << (tied ? "tied" : "untied");
  }
}

}  // namespace
}  // namespace tessera::runtime
