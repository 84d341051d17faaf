// tessera-algos kserver as a user meets it: what is printed, and the exit status.
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/algos/tools/run_algos.h"

namespace tessera::tools {
namespace {

using ::testing::HasSubstr;

Outcome kserver(const std::string& arguments) { return algos("kserver " + arguments); }

std::string file(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + "kserver_" + name;
  std::ofstream(path) << text;
  return path;
}

std::string line() { return file("line.json", R"({"kind": "line", "positions": [0, 1, 10]})"); }
std::string requests() { return file("requests.json", R"({"servers": [0, 2], "requests": [1, 2, 1]})"); }

nlohmann::json answer(const std::string& arguments) {
  const Outcome outcome = kserver(arguments + " --json");
  EXPECT_EQ(outcome.exit, 0) << outcome.out;
  return nlohmann::json::parse(outcome.out);
}

TEST(TesseraAlgosKserver, OptimumForPeople) {
  const Outcome outcome = kserver("optimum " + line() + " " + requests());
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out,
            "points             3, diameter 10\n"
            "servers, requests  2, 3\n"
            "cost               1\n"
            "dearest / mean     2.000\n"
            "form               dense\n"
            "  server    start     served           cost\n"
            "       0        0          2              1\n"
            "       1        2          1              0\n"
            "served by          0 1 0\n");
}

TEST(TesseraAlgosKserver, OptimumForPrograms) {
  for (const char* form : {"auto", "dense", "time-expanded"}) {
    const auto json = answer("optimum " + line() + " " + requests() + " --form " + form);
    EXPECT_EQ(json["cost"], 1);
    EXPECT_EQ(json["costs"], (std::vector<int>{1, 0}));
    EXPECT_EQ(json["server_of"], (std::vector<int>{0, 1, 0}));
  }
}

TEST(TesseraAlgosKserver, FairSharesALap) {
  // One server would go back and forth between two near points; two far ones stand still.
  std::string sequence = R"({"servers": [0, 2, 3], "requests": [)";
  for (int t = 0; t < 1200; ++t) sequence += std::to_string(t % 4 == 3 ? 2 + t / 4 % 2 : t % 4 % 2) + ", ";
  sequence += "0]}";
  const std::string path = file("lap.json", sequence);
  const std::string metric =
      file("tree.json", R"({"kind": "tree", "edges": [[0, 1, 1], [0, 2, 20], [0, 3, 20]]})");
  const auto json = answer("fair " + metric + " " + path + " --eps 0.5 --additive 0");
  EXPECT_GT(json["optimum_max_over_mean"], 2.5);
  EXPECT_LE(json["max_over_mean"], 1.5);
  EXPECT_EQ(json["reached"], true);
  EXPECT_EQ(json["guaranteed"], false);
  EXPECT_EQ(answer("fair " + metric + " " + path)["guaranteed"], true);
}

TEST(TesseraAlgosKserver, OnlineChoosesByTheMetric) {
  const auto algorithm = [](const std::string& metric) {
    return answer("online " + file("metric.json", metric) + " " +
                  file("small.json", R"({"servers": [0], "requests": [1, 0]})"))["algorithm"];
  };
  EXPECT_EQ(algorithm(R"({"kind": "line", "positions": [0, 1]})"), "double-coverage");
  EXPECT_EQ(algorithm(R"({"kind": "tree", "edges": [[0, 1, 1]]})"), "double-coverage");
  EXPECT_EQ(algorithm(R"({"kind": "uniform", "points": 2, "distance": 1})"), "fifo");
  EXPECT_EQ(algorithm(R"({"kind": "matrix", "distances": [[0, 1], [1, 0]]})"), "work-function");
}

TEST(TesseraAlgosKserver, OnlineFairReportsItsCertificate) {
  const std::string arguments = "online " + line() + " - --fair --seed 3 --delta 0.1 --lazy <" + requests();
  const Outcome outcome =
      kserver("online " + line() + " - --json --fair --seed 3 --delta 0.1 --lazy <" + requests());
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_LE(json["cost"], json["cost_allowed"]);
  EXPECT_LE(json["dearest"], json["dearest_allowed"]);
  EXPECT_EQ(json["probability"], 0.9);
  EXPECT_EQ(json["server_of"].size(), 3U);
  EXPECT_THAT(kserver(arguments).out, HasSubstr("algorithm cost"));
}

TEST(TesseraAlgosKserver, MistakesAreExplained) {
  const auto expect_refused = [](const std::string& arguments, const std::string& part) {
    const Outcome outcome = kserver(arguments);
    EXPECT_EQ(outcome.exit, 2) << outcome.out;
    EXPECT_THAT(outcome.out, HasSubstr(part));
  };
  const std::string files = line() + " " + requests();
  expect_refused("", "subcommand");
  expect_refused("optimum", "metric");
  expect_refused("optimum /no/such " + requests(), "remedy");
  expect_refused("optimum " + line() + " " + line(), "only servers, requests");
  expect_refused("optimum - -", "standard input");
  expect_refused("optimum " + files + " --form sparse", "--form");
  expect_refused("fair " + files + " --eps 0", "eps");
  expect_refused("fair " + files + " --eps nan", "eps");
  expect_refused("fair " + files + " --additive -1", "additive");
  expect_refused("online " + files + " --algorithm fifo", "uniform");
  expect_refused("online " + files + " --algorithm lru", "--algorithm");
  expect_refused("online " + files + " --fair --delta 1", "--delta");
  expect_refused("online " + files + " --fair --eps 9", "eps");
  EXPECT_EQ(kserver("fair --help").exit, 0);
}

}  // namespace
}  // namespace tessera::tools
