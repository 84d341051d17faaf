#include "runtime/parallel/rank_placement.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Nodes a (2 devices), b (2) and idle c; group 0 has its stages on b and a, in this order.
planner::Plan plan() {
  planner::Plan plan;
  plan.nodes = {{"a", "cpu", 2}, {"b", "cpu", 2}, {"c", "cpu", 1}};
  planner::Stage first;
  first.devices = {{1, 0}, {1, 1}};
  planner::Stage second;
  second.devices = {{0, 0}, {0, 1}};
  plan.tensor_parallel = 2;
  plan.groups = {{1, {first, second}, 0, 0}};
  return plan;
}

std::vector<int> placed(const std::vector<std::string>& hosts) {
  const Result<std::vector<int>> ranks = place_ranks(plan(), hosts, "plan.json");
  EXPECT_TRUE(ranks.ok()) << ranks.status().message();
  return ranks.ok() ? ranks.value() : std::vector<int>();
}

TEST(RankPlacement, HostsWithTheNodesNamesTakeTheirNode) {
  EXPECT_THAT(placed({"a", "a", "b", "b"}), ElementsAre(2, 3, 0, 1));
  EXPECT_THAT(placed({"b", "a", "b", "a"}), ElementsAre(0, 2, 1, 3));
}

TEST(RankPlacement, OneHostPlaysTheWholeCluster) {
  EXPECT_THAT(placed({"laptop", "laptop", "laptop", "laptop"}), ElementsAre(0, 1, 2, 3));
}

TEST(RankPlacement, OtherNamesAreTakenInOrder) {
  EXPECT_THAT(placed({"h7", "h9", "h7", "h9"}), ElementsAre(0, 2, 1, 3));
}

TEST(RankPlacement, WhatDoesNotFitIsRefusedListingBothSides) {
  for (const std::vector<std::string>& hosts : std::vector<std::vector<std::string>>{{"a", "a", "a", "b"},
                                                                                     {"x", "y", "z", "x"},
                                                                                     {"a", "b"},
                                                                                     {"x", "y", "y", "y"},
                                                                                     {"a", "a", "c", "c"}}) {
    const Result<std::vector<int>> ranks = place_ranks(plan(), hosts, "plan.json");
    ASSERT_FALSE(ranks.ok()) << hosts.front();
    EXPECT_EQ(ranks.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(ranks.status().message(), HasSubstr("b x 2, a x 2"));
    EXPECT_THAT(ranks.status().message(), HasSubstr(hosts.front() + " x "));
  }
}

}  // namespace
}  // namespace tessera::runtime
