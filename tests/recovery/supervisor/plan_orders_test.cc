// Orders to a planner that a script plays: answers are kept, failures are not taken for answers.
#include "recovery/supervisor/plan_orders.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;

/// A plan of one rank on the last of `nodes` nodes.
planner::Plan plan_for(const std::vector<std::string>& names) {
  planner::Plan plan;
  plan.layers = 2;
  plan.parameters = 1;
  plan.sequence_length = 8;
  plan.global_batch = 1;
  for (const std::string& name : names) plan.nodes.push_back({name, "cpu", 1});
  planner::Stage stage;
  stage.devices = {{static_cast<int>(names.size()) - 1, 0}};
  stage.layers = 2;
  stage.recompute = {planner::Recompute::kNone, planner::Recompute::kNone};
  planner::DeviceGroup group;
  group.micro_batches = 1;
  group.stages = {stage};
  plan.groups = {group};
  plan.expected.iteration_s = 0.5;
  return plan;
}

class Orders : public ::testing::Test {
 protected:
  Orders() {
    planner::DeviceType type;
    type.name = "cpu";
    type.kind = planner::DeviceKind::kCpu;
    type.bf16 = false;
    type.peak_flops = type.memory_bytes = type.memory_bytes_per_s = type.host_link_bytes_per_s = 1e10;
    type.peer_bytes_per_s = 5e9;
    cluster_.types = {type};
    for (const char* name : {"a", "b", "c"}) {
      planner::NodeSpec node;
      node.name = name;
      node.intra = node.inter = planner::affine_link(1e-6, 1e9);
      cluster_.nodes.push_back(node);
    }
  }

  /// "$5" is where the plan goes: plan --cluster FILE --out FILE.
  PlannerSetup planner(const std::string& script) {
    std::ofstream(folder_ + "/planner") << "#!/bin/sh\necho x >>" + folder_ + "/calls\n" + script + "\n";
    fs::permissions(folder_ + "/planner", fs::perms::owner_all);
    PlannerSetup setup;
    setup.program = folder_ + "/planner";
    setup.folder = folder_ + "/plans";
    return setup;
  }
  int calls() {
    std::ifstream file(folder_ + "/calls");
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }
  static std::optional<PlanAnswer> answer(PlanOrders& orders) {
    std::optional<PlanAnswer> answer;
    for (int i = 0; i < 1000 && !answer; ++i) {
      answer = orders.poll(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return answer;
  }
  const test::TemporaryFolder there_;
  const std::string& folder_ = there_.path();
  planner::ClusterSpec cluster_;
};

TEST_F(Orders, AnAnswerNamesTheNodesInUseAndIsKept) {
  ASSERT_TRUE(planner::write_plan(plan_for({"a", "c"}), folder_ + "/good.json").ok());
  const PlannerSetup setup = planner("cp " + folder_ + "/good.json \"$5\"");
  for (int again = 0; again < 2; ++again) {
    PlanOrders orders(setup, cluster_);
    orders.order({0, 2});
    const auto got = answer(orders);
    ASSERT_TRUE(got && got->plan);
    EXPECT_EQ(*got->plan, (PlanChoice{{0, 2}, {2}, 0.5}));
    EXPECT_TRUE(fs::exists(orders.plan_path({0, 2})));
    EXPECT_FALSE(orders.poll(0)) << "an order is answered once";
  }
  EXPECT_EQ(calls(), 1);
}

TEST_F(Orders, AnotherJobOrAnotherClusterIsAnotherQuestion) {
  const PlannerSetup setup = planner("exit 2");
  PlanOrders orders(setup, cluster_);
  PlannerSetup changed = setup;
  changed.identity = "another train.json";
  EXPECT_NE(PlanOrders(changed, cluster_).plan_path({0}), orders.plan_path({0}));
  changed = setup;
  changed.arguments = {"--micro-batch", "2"};
  EXPECT_NE(PlanOrders(changed, cluster_).plan_path({0}), orders.plan_path({0}));
  EXPECT_NE(orders.plan_path({1}), orders.plan_path({0}));
}

TEST_F(Orders, NothingFitsIsAnAnswerAndKeptUntilTheNextSupervisor) {
  const PlannerSetup setup = planner("echo 'error: too small'; exit 2");
  for (int supervisor = 1; supervisor <= 2; ++supervisor) {
    PlanOrders orders(setup, cluster_);
    for (int again = 0; again < 2; ++again) {
      orders.order({0});
      const auto got = answer(orders);
      ASSERT_TRUE(got);
      EXPECT_FALSE(got->plan);
      EXPECT_EQ(got->problem, "error: too small\n");
    }
    EXPECT_EQ(calls(), supervisor);
  }
}

TEST_F(Orders, APlannerThatCrashesIsTriedThreeTimesAndNotBelieved) {
  const PlannerSetup setup = planner("kill -9 $$");
  PlanOrders orders(setup, cluster_);
  orders.order({0});
  const auto got = answer(orders);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->plan);
  EXPECT_EQ(calls(), 3);
  EXPECT_FALSE(fs::exists(fs::path(orders.plan_path({0})).parent_path() / "none"));
}

TEST_F(Orders, APlanThatCannotBeReadIsNoAnswer) {
  PlanOrders orders(planner("echo '{' >\"$5\""), cluster_);
  orders.order({0});
  const auto got = answer(orders);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->plan);
}

TEST_F(Orders, PlansArePreparedWhileNothingIsOnOrder) {
  ASSERT_TRUE(planner::write_plan(plan_for({"b", "c"}), folder_ + "/good.json").ok());
  PlanOrders orders(planner("cp " + folder_ + "/good.json \"$5\""), cluster_);
  orders.prepare({{1, 2}});
  for (int i = 0; i < 1000 && !fs::exists(orders.plan_path({1, 2})); ++i) {
    EXPECT_FALSE(orders.poll(0)) << "nobody has asked";
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  orders.order({1, 2});
  const auto got = orders.poll(0);
  ASSERT_TRUE(got && got->plan) << "at once";
  EXPECT_EQ(calls(), 1);
}

TEST_F(Orders, AnOrderEndsWhatIsOnlyPrepared) {
  PlanOrders orders(planner("case $(cat $3) in *'\"b\"'*) sleep 100;; esac; exit 2"), cluster_);
  orders.prepare({{1}});
  for (int i = 0; i < 1000 && calls() == 0; ++i) {
    EXPECT_FALSE(orders.poll(0));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  orders.order({0});
  const auto got = answer(orders);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->offered, NodeSet{0});
}

}  // namespace
}  // namespace tessera::recovery
