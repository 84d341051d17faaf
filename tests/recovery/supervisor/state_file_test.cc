// What survives the supervisor: state and journal read back, and nothing damaged is taken for whole.
#include "recovery/supervisor/state_file.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "recovery/supervisor/journal.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;

SupervisorState example() {
  SupervisorState state;
  state.run = "0123abcd";
  state.membership = new_membership({"a", "b", "c"}, {1}, {2}, Time{1'700'000'000'123});
  state.membership.nodes[0].state = NodeState::kDraining;
  state.membership.nodes[0].until = Time{1'700'000'030'000};
  state.membership.nodes[2].ordered = true;
  Job& job = state.membership.job;
  job.state = JobState::kSaving;
  job.plan = PlanChoice{{0, 1}, {1}, 0.125};
  job.asked = {0, 2};
  job.weighed = {0, 1, 2};
  job.broken = job.excused = job.asked_to_stop = true;
  job.save_by = Time{5};
  job.not_before = Time{6};
  job.starts = 7;
  job.saved_step = 8;
  job.start_step = 4;
  job.steps_left = 9;
  job.step_s = 0.1;
  job.crashes = {Time{1}, Time{2}};
  job.streak = 2;
  return state;
}

class StateFile : public ::testing::Test {
 protected:
  const test::TemporaryFolder there_;
  const std::string& folder_ = there_.path();
  const std::string path_ = folder_ + "/supervisor.json";
};

TEST_F(StateFile, ReadsBackAsWritten) {
  ASSERT_TRUE(write_supervisor_state(path_, example()).ok());
  const Result<SupervisorState> read = read_supervisor_state(path_);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), example());
  EXPECT_FALSE(fs::exists(folder_ + "/.supervisor.json.part"));
}

TEST_F(StateFile, EveryStateOfNodeAndJobReadsBack) {
  for (int node = 0; node < kNodeStates; ++node) {
    for (int job = 0; job < kJobStates; ++job) {
      SupervisorState state = example();
      state.membership.nodes[1].state = static_cast<NodeState>(node);
      state.membership.job.state = static_cast<JobState>(job);
      const Result<SupervisorState> read = parse_supervisor_state(to_json(state), "x");
      ASSERT_TRUE(read.ok()) << read.status().message();
      EXPECT_EQ(read.value(), state);
    }
  }
}

TEST_F(StateFile, ThereIsNoneBeforeTheFirst) {
  EXPECT_EQ(read_supervisor_state(path_).status().code(), Code::kNotFound);
}

TEST_F(StateFile, ACutFileIsDataLossWhereverItIsCut) {
  const std::string whole = to_json(example());
  for (std::size_t cut = 0; cut + 2 < whole.size(); ++cut) {
    EXPECT_EQ(parse_supervisor_state(whole.substr(0, cut), "x").status().code(), Code::kDataLoss) << cut;
  }
}

TEST_F(StateFile, WhatCannotBeIsRefused) {
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string text = to_json(example());
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return parse_supervisor_state(text.replace(at, from.size(), to), "x").status().code();
  };
  EXPECT_EQ(changed("\"draining\"", "\"drowning\""), Code::kDataLoss);
  EXPECT_EQ(changed("\"saving\"", "\"praying\""), Code::kDataLoss);
  // Numbers of nodes that do not exist, or are not rising, would be indices.
  EXPECT_EQ(changed("\"asked\": [\n      0,\n      2", "\"asked\": [\n      0,\n      3"), Code::kDataLoss);
  EXPECT_EQ(changed("\"asked\": [\n      0,\n      2", "\"asked\": [\n      -1,\n      2"), Code::kDataLoss);
  EXPECT_EQ(changed("\"asked\": [\n      0,\n      2", "\"asked\": [\n      2,\n      2"), Code::kDataLoss);
  EXPECT_EQ(changed("\"starts\": 7", "\"starts\": 0"), Code::kDataLoss) << "what is it that is saving?";
  SupervisorState state = example();
  state.membership.job.plan.reset();
  EXPECT_EQ(parse_supervisor_state(to_json(state), "x").status().code(), Code::kDataLoss) << "saving what?";
}

TEST_F(StateFile, OneSupervisorForAState) {
  EXPECT_FALSE(StateLock::held(folder_));
  {
    const Result<StateLock> lock = StateLock::take(folder_);
    ASSERT_TRUE(lock.ok());
    EXPECT_TRUE(StateLock::held(folder_));
    EXPECT_EQ(StateLock::take(folder_).status().code(), Code::kFailedPrecondition);
  }
  EXPECT_FALSE(StateLock::held(folder_));
  EXPECT_TRUE(StateLock::take(folder_).ok());
}

JournalEntry entry(int i) {
  JournalEntry e;
  e.time = Time{1'764'007'200'000 + i};
  e.event = "rank died";
  if (i % 2 == 0) e.node = "b";
  e.action = "end";
  e.why = "b is \"suspected\"\nin two lines";
  e.job = "stopping";
  e.saved_step = i;
  return e;
}

TEST_F(StateFile, TheJournalReadsBackWithoutItsTornLine) {
  const std::string path = folder_ + "/journal.jsonl";
  EXPECT_EQ(read_journal(path).status().code(), Code::kNotFound);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(append_journal(path, entry(i)).ok());
  std::ofstream(path, std::ios::app) << to_json_line(entry(3)).substr(0, 40);
  const Result<std::vector<JournalEntry>> read = read_journal(path);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value(), (std::vector<JournalEntry>{entry(0), entry(1), entry(2)}));
}

TEST_F(StateFile, AJournalLineForPeople) {
  EXPECT_EQ(to_text(entry(2)),
            "18:00:00.002  stopping     rank died (b): end: b is \"suspected\"\nin two lines [saved 2]");
}

}  // namespace
}  // namespace tessera::recovery
