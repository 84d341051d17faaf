#include "recovery/supervisor/heartbeat.h"

#include <atomic>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "recovery/supervisor/hang_watch.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

Heartbeat example(int rank, std::int64_t beat) {
  Heartbeat h;
  h.rank = rank;
  h.pid = 4711 + rank;
  h.host = "vm";
  h.node = "a \"quoted\" name";
  h.state = RankState::kSaving;
  h.beat = beat;
  h.step = 12;
  h.steps = 100;
  h.micro_batch = 3;
  h.saved_step = 10;
  h.step_s = 0.1875;
  return h;
}

class Heartbeats : public ::testing::Test {
 protected:
  const test::TemporaryFolder there_;
  const std::string& folder_ = there_.path();
};

TEST_F(Heartbeats, ReadBackAsWritten) {
  ASSERT_TRUE(write_heartbeat(folder_, example(1, 5)).ok());
  ASSERT_TRUE(write_heartbeat(folder_, example(0, 7)).ok());
  EXPECT_EQ(read_heartbeats(folder_), (std::vector<Heartbeat>{example(0, 7), example(1, 5)}));
}

TEST_F(Heartbeats, WhatIsNoHeartbeatIsLeftOut) {
  ASSERT_TRUE(write_heartbeat(folder_, example(0, 7)).ok());
  const std::string whole = to_json(example(1, 1));
  for (std::size_t cut = 0; cut + 2 < whole.size(); ++cut) {
    std::ofstream(folder_ + "/rank-0001.json") << whole.substr(0, cut);
    EXPECT_EQ(read_heartbeats(folder_).size(), 1U) << cut;
  }
  std::ofstream(folder_ + "/rank-0001.json") << R"({"rank": "one"})";
  EXPECT_EQ(read_heartbeats(folder_).size(), 1U);
  EXPECT_TRUE(read_heartbeats(folder_ + "/none").empty());
}

TEST_F(Heartbeats, AReaderNeverSeesAPart) {
  ASSERT_TRUE(write_heartbeat(folder_, example(0, 0)).ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::int64_t beat = 1; !stop.load(); ++beat)
      EXPECT_TRUE(write_heartbeat(folder_, example(0, beat)).ok());
  });
  std::int64_t last = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::vector<Heartbeat> beats = read_heartbeats(folder_);
    ASSERT_EQ(beats.size(), 1U);
    EXPECT_GE(beats[0].beat, last);
    last = beats[0].beat;
  }
  stop.store(true);
  writer.join();
}

TEST_F(Heartbeats, AFolderThatCannotBeWrittenIsAnError) {
  EXPECT_EQ(write_heartbeat(folder_ + "/none", example(0, 0)).code(), Code::kIoError);
}

// ---- hangs
// --------------------------------------------------------------------------------------------------

Heartbeat beat_of(int rank, std::int64_t beat, std::int64_t step, double step_s,
                  RankState state = RankState::kTraining) {
  Heartbeat h = example(rank, beat);
  h.state = state;
  h.step = step;
  h.step_s = step_s;
  return h;
}

TEST(HangWatch, ASilentRankHangsAfterTheGreaterOfLeastAndMedians) {
  HangWatch watch({.least_s = 5, .factor = 10, .quiet_s = 100});
  for (int step = 1; step <= 9; ++step) {
    // Steps of 1 s but for one of 50 s, which a median does not mind.
    watch.observe({beat_of(0, step, step, step == 4 ? 50 : 1), beat_of(1, step, step, 0.5)}, step);
  }
  EXPECT_EQ(watch.median_step_s(), 1);
  EXPECT_FALSE(watch.hang(9 + 9.9));
  const auto hang = watch.hang(9 + 10.1);
  ASSERT_TRUE(hang);
  EXPECT_EQ(hang->limit_s, 10);
  EXPECT_NEAR(hang->silent_s, 10.1, 1e-9);
}

TEST(HangWatch, LeastHoldsWhileStepsAreShort) {
  HangWatch watch({.least_s = 5, .factor = 10, .quiet_s = 100});
  watch.observe({beat_of(0, 1, 1, 0.01)}, 0);
  watch.observe({beat_of(0, 2, 2, 0.01)}, 1);
  EXPECT_FALSE(watch.hang(5.9));
  EXPECT_TRUE(watch.hang(6.1));
}

TEST(HangWatch, TheRankThatWasSilentFirstIsNamed) {
  HangWatch watch({.least_s = 5, .factor = 10, .quiet_s = 100});
  watch.observe({beat_of(0, 1, 1, 0.01), beat_of(1, 1, 1, 0.01), beat_of(2, 1, 1, 0.01)}, 0);
  watch.observe({beat_of(0, 2, 1, 0.01), beat_of(1, 1, 1, 0.01), beat_of(2, 2, 1, 0.01)}, 2);
  const auto hang = watch.hang(7.5);  // only rank 1 is over its limit at 5, all are silent
  ASSERT_TRUE(hang);
  EXPECT_EQ(hang->last.rank, 1);
}

TEST(HangWatch, SavingAndRestoringMayBeQuiet) {
  for (const RankState state : {RankState::kStarting, RankState::kRestoring, RankState::kSaving,
                                RankState::kEvaluating, RankState::kDone}) {
    HangWatch watch({.least_s = 5, .factor = 10, .quiet_s = 100});
    watch.observe({beat_of(0, 1, 1, 0.01, state)}, 0);
    EXPECT_FALSE(watch.hang(99)) << rank_state_name(state);
    EXPECT_TRUE(watch.hang(101)) << rank_state_name(state);
  }
}

TEST(HangWatch, ANewProcessOfARankIsLife) {
  HangWatch watch({.least_s = 5, .factor = 10, .quiet_s = 100});
  watch.observe({beat_of(0, 1, 1, 0.01)}, 0);
  Heartbeat reborn = beat_of(0, 1, 1, 0.01);
  reborn.pid = 1;
  watch.observe({reborn}, 4);
  EXPECT_FALSE(watch.hang(8));
}

TEST(HangWatch, NobodyHangsBeforeThereIsAHeartbeat) { EXPECT_FALSE(HangWatch({}).hang(1e9)); }

}  // namespace
}  // namespace tessera::recovery
