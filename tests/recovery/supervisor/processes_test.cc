#include "recovery/supervisor/processes.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <gtest/gtest.h>

#include "recovery/supervisor/job_process.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;

template <class Condition>
bool soon(Condition condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

int wait(pid_t pid) {
  std::optional<int> code;
  EXPECT_TRUE(soon([&] { return code || (code = exit_code_of(pid)); }));
  return code.value_or(-1);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Processes : public ::testing::Test {
 protected:
  const test::TemporaryFolder there_;
  const std::string& folder_ = there_.path();
};

TEST_F(Processes, OutputEnvironmentAndExitCode) {
  Launch request;
  request.argv = {"sh", "-c", "echo $TESSERA_X; echo wrong >&2; exit 7"};
  request.environment = {{"TESSERA_X", "with blanks"}};
  request.output = folder_ + "/out";
  const Result<pid_t> pid = launch(request);
  ASSERT_TRUE(pid.ok());
  EXPECT_EQ(wait(pid.value()), 7);
  EXPECT_EQ(text_of(request.output), "with blanks\nwrong\n");
}

TEST_F(Processes, AProgramThatIsNotThereIsExitCode127) {
  Launch request;
  request.argv = {"/no/such/program"};
  EXPECT_EQ(wait(launch(request).value()), 127);
}

TEST_F(Processes, ASignalIsItsNumberAnd128) {
  Launch request;
  request.argv = {"sh", "-c", "kill -9 $$"};
  EXPECT_EQ(wait(launch(request).value()), 128 + SIGKILL);
}

TEST_F(Processes, AreFoundByTheWholeVariable) {
  Launch request;
  request.argv = {"sleep", "100"};
  request.environment = {{"TESSERA_TEST_MARK", "mark-1"}};
  request.own_session = true;
  const pid_t pid = launch(request).value();
  EXPECT_TRUE(soon([&] { return find_processes("TESSERA_TEST_MARK", "mark-1").size() == 1; }));
  const std::vector<FoundProcess> found = find_processes("TESSERA_TEST_MARK", "mark-1");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].pid, pid);
  EXPECT_EQ(found[0].parent, getpid());
  EXPECT_TRUE(found[0].leads_session);
  EXPECT_TRUE(find_processes("TESSERA_TEST_MARK", "mark").empty()) << "a part of the value";
  EXPECT_TRUE(find_processes("TEST_MARK", "mark-1").empty()) << "a part of the name";
  EXPECT_TRUE(process_lives(pid));
  kill(pid, SIGKILL);
  EXPECT_TRUE(soon([&] { return !process_lives(pid); })) << "a zombie does not live";
  EXPECT_TRUE(find_processes("TESSERA_TEST_MARK", "mark-1").empty());
  wait(pid);
}

TEST_F(Processes, AJobLeavesItsExitCodeForWhoeverSupervises) {
  JobProcess job(folder_ + "/start", "token-exit");
  ASSERT_TRUE(job.start({"sh", "-c", "exit 3"}, {}, false).ok());
  EXPECT_TRUE(soon([&] { return job.exit_code().has_value(); }));
  EXPECT_EQ(JobProcess(folder_ + "/start", "token-exit").exit_code(), 3);
  job.clean_up();
}

TEST_F(Processes, EndingAJobLeavesNothingStoppedRanksIncluded) {
  JobProcess job(folder_ + "/start", "token-end");
  ASSERT_TRUE(job.start({"sh", "-c", "sleep 100 & setsid sleep 100 & kill -STOP $!; wait"}, {}, true).ok());
  ASSERT_TRUE(soon([&] { return job.processes().size() == 4; }));  // keeper, sh, two sleeps
  EXPECT_TRUE(fs::exists("/dev/shm/tessera-token-end"));
  job.end(false);
  EXPECT_TRUE(soon([&] { return job.processes().empty(); }));
  EXPECT_FALSE(job.exit_code());
  job.clean_up();
  EXPECT_FALSE(fs::exists("/dev/shm/tessera-token-end"));
}

TEST_F(Processes, ASignalReachesTheLauncherAndNotItsKeeper) {
  JobProcess job(folder_ + "/start", "token-signal");
  ASSERT_TRUE(
      job.start({"sh", "-c", "trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done"}, {}, false)
          .ok());
  ASSERT_TRUE(soon([&] { return text_of(job.log()) == "ready\n"; }));
  job.signal_launcher(SIGUSR1);
  EXPECT_TRUE(soon([&] { return job.exit_code() == 5; }));
  job.clean_up();
}

}  // namespace
}  // namespace tessera::recovery
