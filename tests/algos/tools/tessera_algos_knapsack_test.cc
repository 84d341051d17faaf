// tessera-algos knapsack as a user meets it: what is printed, what is refused, the exit status.
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/algos/tools/run_algos.h"

namespace tessera::tools {
namespace {

using ::testing::HasSubstr;

Outcome knapsack(const std::string& arguments, const std::string& input = "") {
  const std::string path = ::testing::TempDir() + "knapsack_input";
  std::ofstream(path, std::ios::binary) << input;
  return algos("knapsack " + arguments, "cat " + path + " | ");
}

constexpr const char* kThree = "profit,weight\n60,10\n# a comment\n\n100, 20\r\n 120,30";

TEST(TesseraAlgosKnapsack, SolvePrintsForPeople) {
  const Outcome outcome = knapsack("solve --capacity 50", kThree);
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out,
            "items          3\ncapacity       50\nprofit         220\nweight         50\n"
            "upper bound    220 (the optimum)\nchosen         2: 1 2\n");
}

TEST(TesseraAlgosKnapsack, SolvePrintsForPrograms) {
  const Outcome outcome = knapsack("solve --json --capacity 50", kThree);
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  auto answer = nlohmann::json::parse(outcome.out);
  EXPECT_GE(answer["cpu_seconds"], 0.0);
  answer.erase("cpu_seconds");
  EXPECT_EQ(answer, nlohmann::json::parse(
                        R"({"items": 3, "capacity": 50, "profit": 220, "weight": 50, "upper_bound": 220,
                                      "proven": true, "largest_relative_error": 0.0, "chosen": [1, 2]})"));
}

TEST(TesseraAlgosKnapsack, LimitsLeaveACertificate) {
  std::string items;
  for (int i = 1; i <= 200; ++i)
    items += std::to_string(1000 + 7 * i) + "," + std::to_string(900 + 7 * i) + "\n";
  const auto answer =
      nlohmann::json::parse(knapsack("solve --max-states 1 --json --capacity 70001", items).out);
  EXPECT_GT(answer["upper_bound"], answer["profit"]);
  EXPECT_FALSE(answer["proven"]);
}

TEST(TesseraAlgosKnapsack, ReadableListIsCut) {
  std::string items;
  for (int i = 0; i < 30; ++i) items += "1,1\n";
  EXPECT_THAT(knapsack("solve --capacity 30 --limit 2", items).out,
              HasSubstr("chosen         30: 0 1 ...\n"));
  EXPECT_THAT(knapsack("solve --capacity 30 --limit 0", items).out, HasSubstr(" 28 29\n"));
}

TEST(TesseraAlgosKnapsack, XdpReadsIntegersAndReals) {
  const auto integers = nlohmann::json::parse(knapsack("xdp --json --capacity 50", kThree).out);
  EXPECT_TRUE(integers["profit"].is_number_integer());
  EXPECT_EQ(integers["upper_bound"], 240);
  const auto reals =
      nlohmann::json::parse(knapsack("xdp --json --capacity 0.5", "0.5,0.25\n0.25,0.25\n1,1").out);
  EXPECT_EQ(reals["profit"], 0.75);
  EXPECT_EQ(reals["chosen"], nlohmann::json({0, 1}));
}

TEST(TesseraAlgosKnapsack, RefusesWithTheLine) {
  const auto refused = [](const std::string& arguments, const std::string& input, const char* words) {
    const Outcome outcome = knapsack(arguments, input);
    EXPECT_EQ(outcome.exit, 2) << outcome.out;
    EXPECT_THAT(outcome.out, HasSubstr("error: "));
    EXPECT_THAT(outcome.out, HasSubstr(words));
  };
  refused("solve --capacity 5", "1,2\n3;4\n", "standard input: line 2");
  refused("solve --capacity 5", "1,2\n3,4.5\n", "3,4.5");
  refused("solve --capacity 5", "1,2,3\n", "line 1");
  refused("solve --capacity 5", "1,99999999999999999999\n", "line 1");
  refused("solve --capacity 5", "-1,2\n", "items[0].profit");
  refused("solve --capacity=-5", "1,2\n", "capacity");
  refused("solve --capacity 5x", "1,2\n", "--capacity");
  refused("solve --capacity 5 --max-states 0", "1,2\n", "max_states");
  refused("xdp --capacity 5", "nan,2\n", "line 1");
  refused("xdp --capacity 1e999", "1,2\n", "--capacity");
  refused("solve --capacity 5 /no/such/file", "", "/no/such/file");
}

TEST(TesseraAlgosKnapsack, AsksForWhatIsMissing) {
  EXPECT_EQ(knapsack("").exit, 2);
  EXPECT_EQ(knapsack("solve", kThree).exit, 2);
  EXPECT_EQ(knapsack("solve --help").exit, 0);
  EXPECT_THAT(knapsack("--help").out, HasSubstr("profit,weight"));
}

}  // namespace
}  // namespace tessera::tools
