#include "runtime/train/machine_memory.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

using ::testing::HasSubstr;

TEST(MachineMemory, ReadsWhatTheKernelWrites) {
  EXPECT_EQ(parse_mem_total("MemTotal:       24689848 kB\nMemFree:  1 kB\n"), std::int64_t{24689848} * 1024);
  EXPECT_EQ(parse_mem_total("MemFree:  1 kB\n"), 0);
  EXPECT_EQ(parse_mem_total(""), 0);
  EXPECT_EQ(parse_cgroup_limit("8589934592\n"), std::int64_t{8} << 30);
  EXPECT_EQ(parse_cgroup_limit("max\n"), 0);
  EXPECT_EQ(parse_cgroup_limit(""), 0);
  EXPECT_EQ(parse_cgroup_limit("-5"), 0);
}

TEST(MachineMemory, TheLowerOfMachineAndLimit) {
  const std::string root = ::testing::TempDir() + "machine_memory";
  std::filesystem::create_directories(root + "/proc");
  std::filesystem::create_directories(root + "/sys/fs/cgroup");
  std::ofstream(root + "/proc/meminfo") << "MemTotal: 1000 kB\n";
  const auto limit = [&](const char* text) { std::ofstream(root + "/sys/fs/cgroup/memory.max") << text; };
  EXPECT_EQ(machine_memory(root), 1024000);
  limit("max\n");
  EXPECT_EQ(machine_memory(root), 1024000);
  limit("4096\n");
  EXPECT_EQ(machine_memory(root), 4096);
  limit("99999999\n");
  EXPECT_EQ(machine_memory(root), 1024000);
  std::filesystem::remove_all(root);
  EXPECT_EQ(machine_memory(root), 0);
}

TEST(MachineMemory, PeakIsAtLeastWhatWasTouched) {
  const std::int64_t before = peak_resident_bytes();
  if (before == 0) GTEST_SKIP() << "no /proc/self/status";
  const std::vector<char> touched(64 << 20, 1);
  EXPECT_GE(peak_resident_bytes(), std::int64_t{64} << 20);
  EXPECT_EQ(touched.back(), 1);
}

TEST(CheckMemory, SumsTheRanksOfAHost) {
  EXPECT_TRUE(check_memory({}).ok());
  EXPECT_TRUE(
      check_memory({{"a", 600, 1000}, {"a", 500, 1000}, {"b", 1000, 1000}}).ok());  // 10 % above is let pass
  EXPECT_TRUE(check_memory({{"a", 1 << 30, 0}}).ok());                              // unknown
  const Status status = check_memory({{"a", 900'000'000, 1'000'000'000},
                                      {"b", 700'000'000, 1'000'000'000},
                                      {"b", 500'000'000, 1'000'000'000}});
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("b"));
  EXPECT_THAT(status.message(), HasSubstr("1.20 GB for 2 ranks"));
  EXPECT_THAT(status.message(), HasSubstr("1.00 GB of the machine"));
  EXPECT_THAT(status.message(), HasSubstr("--memory-check off"));
}

}  // namespace
}  // namespace tessera::runtime
