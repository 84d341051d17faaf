// A plan as a value: ranks, text, differences, JSON.
#include "planner/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/planner/plan/plan_fixture.h"

namespace tessera::planner {
namespace {

using testing::example;
using ::testing::HasSubstr;
using testing::plan_of;

TEST(Plan, RanksAreNumberedAsTheHeaderSays) {
  // The header's example: t = 2, mesh 1x2, groups of 2 and 1 stages, 12 ranks.
  const Plan plan = plan_of(2, MeshShape::mesh(1, 2), {{1, 1}, {2}}, 2, 6);
  ASSERT_EQ(plan.ranks(), 12);
  const auto places = rank_places(plan);
  ASSERT_EQ(places.size(), 12U);
  EXPECT_EQ(places[6], (RankPlace{0, 1, 1, 0, {1, 0}}));
  EXPECT_EQ(places[11], (RankPlace{1, 0, 1, 1, {1, 5}}));
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    const RankPlace& place = places[rank];
    EXPECT_EQ(rank_of(plan, place.group, place.stage, place.cell, place.tensor).value,
              static_cast<int>(rank));
  }
}

TEST(Plan, GroupsTakeConsecutiveMicroBatches) {
  Plan plan = example();
  plan.groups[0].micro_batches = 5;
  EXPECT_EQ(plan.first_micro_batch(0), 0);
  EXPECT_EQ(plan.first_micro_batch(1), 5);
  EXPECT_EQ(plan.micro_batches(), 8);
}

TEST(Plan, EveryLayerHasAStage) {
  const Plan plan = example();
  EXPECT_EQ(stage_of_layer(plan.groups[0], 1), 0);
  EXPECT_EQ(stage_of_layer(plan.groups[0], 2), 1);
  EXPECT_EQ(stage_of_layer(plan.groups[1], 2), 0);
  EXPECT_EQ(stage_of_layer(plan.groups[1], 3), 1);
}

TEST(Plan, TextNamesGroupsStagesAndDevices) {
  Plan plan = example();
  plan.groups[1].stages[0].recompute[1] = Recompute::kSelective;
  const std::string text = to_text(plan);
  EXPECT_THAT(text, HasSubstr("4 ranks in 2 groups"));
  EXPECT_THAT(text, HasSubstr("layers   0-2"));
  EXPECT_THAT(text, HasSubstr("n1:1"));
  EXPECT_THAT(text, HasSubstr("1 selective"));
}

TEST(Plan, DifferencesAreListedAndCounted) {
  const Plan plan = example();
  EXPECT_EQ(plan_differences(plan, plan), "");
  Plan other = plan;
  other.groups[1].micro_batches = 4;
  other.groups[0].stages[1].recompute[0] = Recompute::kFull;
  other.nodes[1].name = "elsewhere";
  const std::string text = plan_differences(plan, other);
  EXPECT_THAT(text, HasSubstr("group 1 micro-batches: 3 and 4"));
  EXPECT_THAT(text, HasSubstr("group 0 stage 1 recompute: - and 1 full"));
  EXPECT_THAT(text, HasSubstr("node 1 name: n1 and elsewhere"));
  EXPECT_THAT(plan_differences(plan, other, 1), HasSubstr("more differences"));
  // Two layers, one recomputed: which one is a difference too.
  Plan last = plan;
  Plan first = plan;
  first.groups[0].stages[0].recompute[0] = Recompute::kFull;
  last.groups[0].stages[0].recompute[1] = Recompute::kFull;
  EXPECT_NE(plan_differences(first, last), "");
}

Plan filled() {
  Plan plan = plan_of(2, MeshShape{2, {1, 2}, {2, 2}}, {{1, 2}, {3}}, 12, 8);
  plan.precision = Precision::kBf16;
  plan.tied_embeddings = true;
  plan.groups[0].stages[1].recompute = {Recompute::kSelective, Recompute::kFull};
  plan.groups[0].stages[1].expected = {0.1, 1.0 / 3, 3, 4, 5, 6, 7, 8, 9.25e9, 1e10};
  plan.groups[0].period_s = 0.7;
  plan.groups[1].pipeline_s = 1.1;
  plan.expected = {1.25, 0.1, 0.01, 0.02, 1.2, 0.04, 17};
  return plan;
}

TEST(PlanJson, ReadsBackBitForBit) {
  const Plan plan = filled();
  const std::string text = to_plan_json(plan);
  const auto read = parse_plan(text, "plan.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), plan);
  EXPECT_EQ(to_plan_json(read.value()), text);
  const std::string path = ::testing::TempDir() + "/plan_test.json";
  ASSERT_TRUE(write_plan(plan, path).ok());
  EXPECT_EQ(read_plan(path).value(), plan);
  EXPECT_EQ(read_plan(path + ".absent").status().code(), Code::kNotFound);
}

TEST(PlanJson, ExpectationsMayBeAbsent) {
  auto json = nlohmann::json::parse(to_plan_json(example()));
  json.erase("expected");
  for (auto& group : json["groups"]) {
    group.erase("expected");
    for (auto& stage : group["stages"]) stage.erase("expected");
  }
  EXPECT_EQ(parse_plan(json.dump(), "plan.json").value(), example());
}

TEST(PlanJson, EveryFieldIsRequiredAndNoOtherAllowed) {
  const auto json = nlohmann::json::parse(to_plan_json(filled()));
  const auto refused = [](const nlohmann::json& object, const std::string& field) {
    const auto read = parse_plan(object.dump(), "plan.json");
    EXPECT_FALSE(read.ok()) << field;
    if (!read.ok()) {
      EXPECT_THAT(read.status().message(), HasSubstr("plan.json"));
      EXPECT_THAT(read.status().message(), HasSubstr(field));
    }
  };
  for (const auto& [name, value] : json.items()) {
    if (name == "expected") continue;
    auto without = json;
    without.erase(name);
    refused(without, name);
    auto wrong = json;
    wrong[name] = value.is_string() ? nlohmann::json(7) : nlohmann::json("seven");
    refused(wrong, name);
  }
  for (const char* place :
       {"", "/groups/0", "/groups/0/stages/0", "/groups/0/stages/0/expected", "/nodes/0"}) {
    auto more = json;
    more[nlohmann::json::json_pointer(place)]["surprise"] = 1;
    refused(more, "surprise");
  }
  for (const auto& [place, bad] : std::vector<std::pair<const char*, nlohmann::json>>{
           {"/context", "3by3"},
           {"/precision", "fp8"},
           {"/micro_batch", -1},
           {"/layers", 1e30},
           {"/groups/0/stages/1/recompute", {{"sometimes", 2}}},
           {"/groups/0/stages/1/recompute", {{"none", 3}}},
           {"/groups/0/stages/1/devices", {{0, 1, 2}}},
           {"/groups/0/stages/1/expected/forward_s", -1},
           {"/expected/gap", "none"}}) {
    auto wrong = json;
    wrong[nlohmann::json::json_pointer(place)] = bad;
    const std::string path = place;
    refused(wrong, path.substr(path.rfind('/') + 1));
  }
}

}  // namespace
}  // namespace tessera::planner
