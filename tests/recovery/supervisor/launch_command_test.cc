// Pure parts around a start: the command, host names, mpirun's last words, notices' bodies, probes' words.
#include "recovery/supervisor/launch_command.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recovery/supervisor/notice_source.h"
#include "recovery/supervisor/probe.h"

namespace tessera::recovery {
namespace {

using ::testing::ElementsAre;

/// One group of stages, each on the node and device given.
planner::Plan plan_on(const std::vector<planner::DeviceSlot>& slots) {
  planner::Plan plan;
  plan.nodes = {{"a", "cpu", 2}, {"b", "cpu", 2}, {"idle", "cpu", 1}};
  planner::DeviceGroup group;
  group.micro_batches = 1;
  for (const planner::DeviceSlot& slot : slots) {
    planner::Stage stage;
    stage.devices = {slot};
    group.stages.push_back(stage);
  }
  plan.groups = {group};
  return plan;
}

TEST(LaunchCommand, LocalRanksKeepThePlansOrder) {
  const planner::Plan plan = plan_on({{0, 0}, {1, 0}, {1, 1}, {0, 1}});
  EXPECT_THAT(rank_contexts(plan, LaunchMode::kLocal),
              ElementsAre(NodeRanks{"a", 1}, NodeRanks{"b", 2}, NodeRanks{"a", 1}));
  EXPECT_THAT(launch_command(plan, LaunchMode::kLocal, "mpirun", {"train", "--x"}, {{"E", "1"}}),
              ElementsAre("mpirun", "-np", "1", "env", "TESSERA_NODE=a", "E=1", "train", "--x", ":", "-np",
                          "2", "env", "TESSERA_NODE=b", "E=1", "train", "--x", ":", "-np", "1", "env",
                          "TESSERA_NODE=a", "E=1", "train", "--x"));
}

TEST(LaunchCommand, HostsAreNamedOnceInTheOrderOfTheirFirstRanks) {
  const planner::Plan plan = plan_on({{1, 0}, {0, 0}, {1, 1}});
  EXPECT_THAT(launch_command(plan, LaunchMode::kHosts, "mpirun", {"train"}, {}),
              ElementsAre("mpirun", "--host", "b:2", "-np", "2", "env", "TESSERA_NODE=b", "train", ":",
                          "--host", "a:1", "-np", "1", "env", "TESSERA_NODE=a", "train"));
}

TEST(LaunchCommand, HostNamesOfScontrol) {
  EXPECT_THAT(parse_host_names("n1\nn2\n"), ElementsAre("n1", "n2"));
  EXPECT_THAT(parse_host_names("  n1 \r\n\n"), ElementsAre("n1"));
  EXPECT_TRUE(parse_host_names("").empty());
}

TEST(LaunchCommand, TheProcessThatMpirunSawDie) {
  EXPECT_EQ(first_dead_process(
                "mpirun noticed that process rank 2 with PID 4711 on node vm exited on signal 9 (Killed).\n"),
            4711);
  EXPECT_EQ(first_dead_process("mpirun noticed that process rank 0 with PID 0 on node vm exited on signal 6"),
            0);
  EXPECT_EQ(first_dead_process("process rank 1 with PID 12 on node vm is well\n"
                               "process rank 3 with PID 34 on node vm exited on signal 11"),
            34);
  EXPECT_EQ(first_dead_process("process rank "), 0);
  EXPECT_EQ(first_dead_process(""), 0);
}

TEST(Notices, WhatAwsSays) {
  const auto notice = parse_aws_action(R"({"action": "terminate", "time": "2026-11-24T18:02:00Z"})");
  ASSERT_TRUE(notice.ok());
  EXPECT_EQ(notice.value(), Time{1'795'543'320'000});  // date -u -d 2026-11-24T18:02:00Z +%s
  for (const char* wrong : {"", "null", "[]", "{}", R"({"time": 5})", R"({"time": "soon"})",
                            R"({"time": "2026-11-24T18:02:00Z and more"})", "<html>"}) {
    EXPECT_EQ(parse_aws_action(wrong).status().code(), Code::kDataLoss) << wrong;
  }
}

TEST(Notices, WhatGcpSays) {
  EXPECT_EQ(parse_gcp_preempted("FALSE", Time{5}).value(), std::nullopt);
  EXPECT_EQ(parse_gcp_preempted("TRUE\n", Time{5}).value(), Time{30'005});
  EXPECT_EQ(parse_gcp_preempted("true", Time{5}).status().code(), Code::kDataLoss);
  EXPECT_EQ(parse_gcp_preempted("", Time{5}).status().code(), Code::kDataLoss);
}

TEST(Notices, AServiceThatIsNotThereIsNoNotice) {
  const MetadataService service{Cloud::kAws, "http://127.0.0.1:1", 0.5};
  EXPECT_EQ(ask_for_notice(service, Time{0}).status().code(), Code::kUnavailable);
}

TEST(Notices, LeftInFilesAndForgotten) {
  const std::string folder = ::testing::TempDir() + "notices-test";
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(read_notices(folder).empty());
  ASSERT_TRUE(leave_notice(folder, "a", Time{1'700'000'000'250}).ok());
  ASSERT_TRUE(leave_notice(folder, "b", NodeNotice()).ok());
  const auto notices = read_notices(folder);
  ASSERT_EQ(notices.size(), 2U);
  EXPECT_EQ(notices.at("a"), Time{1'700'000'000'250});
  EXPECT_EQ(notices.at("b"), std::nullopt);
  forget_notice(folder, "a");
  EXPECT_EQ(read_notices(folder).size(), 1U);
  std::filesystem::remove_all(folder);
}

TEST(Probes, CommandsNameTheNode) {
  EXPECT_THAT(command_for(split_words(" ssh  {} test -e /x/{}.{} "), "n1"),
              ElementsAre("ssh", "n1", "test", "-e", "/x/n1.n1"));
}

TEST(Probes, AnswerByExitCodeAndTime) {
  Probe none({}, 1);
  none.ask("a", 0);
  EXPECT_THAT(none.poll(0), ElementsAre(std::pair<std::string, bool>("a", true)));
  EXPECT_TRUE(none.poll(0).empty());

  Probe hangs(split_words("sleep 100"), 1);
  hangs.ask("a", 0);
  EXPECT_TRUE(hangs.poll(0.5).empty());
  EXPECT_THAT(hangs.poll(1.5), ElementsAre(std::pair<std::string, bool>("a", false)));

  Probe missing(split_words("/no/such/program {}"), 1000);
  missing.ask("a", 0);
  std::vector<std::pair<std::string, bool>> answers;
  while (answers.empty()) answers = missing.poll(0);
  EXPECT_FALSE(answers[0].second);
}

}  // namespace
}  // namespace tessera::recovery
