// tessera-algos bwt and lyndon as a user meets them: what is printed, what is written, the exit status.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/algos/tools/run_algos.h"

namespace tessera::tools {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(TesseraAlgos, BwtPrintsForPeople) {
  const Outcome outcome = algos("bwt --text banana");
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(
      outcome.out,
      "bytes          6\nprimary_index  4\nmethod         in-place\nruns_before    6\nruns_after     4\n"
      "transform      annbaa\n");
}

TEST(TesseraAlgos, BwtOfAFileComesBack) {
  const std::string folder = ::testing::TempDir();
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * i % 256);
  std::ofstream(folder + "plain", std::ios::binary) << text;
  const Outcome forward = algos("bwt " + folder + "plain --output " + folder + "moved --json");
  ASSERT_EQ(forward.exit, 0) << forward.out;
  const auto answer = nlohmann::json::parse(forward.out);
  EXPECT_EQ(answer["bytes"], 5000);
  EXPECT_LT(answer["runs_after"], answer["runs_before"]);
  const std::string index = std::to_string(answer["primary_index"].get<int>());
  const Outcome back =
      algos("bwt - --inverse " + index + " --output " + folder + "back", "cat " + folder + "moved | ");
  ASSERT_EQ(back.exit, 0) << back.out;
  EXPECT_EQ(read_file(folder + "back"), text);
}

TEST(TesseraAlgos, BwtAsJson) {
  const auto answer = nlohmann::json::parse(algos("bwt --json", "printf banana | ").out);
  EXPECT_EQ(answer["transform_hex"], "616e6e626161");
  EXPECT_EQ(answer["primary_index"], 4);
  EXPECT_EQ(nlohmann::json::parse(algos("bwt --text annbaa --inverse 4 --json").out)["text_hex"],
            "62616e616e61");
}

TEST(TesseraAlgos, LyndonForPeopleAndPrograms) {
  const Outcome outcome = algos("lyndon --text banana");
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out,
            "bytes          6\nleast rotation 5\ncyclic period  6\nfactors        4\n"
            "       start       length  text\n"
            "           0            1  b\n           1            2  an\n"
            "           3            2  an\n           5            1  a\n"
            "Lyndon array   1 2 1 2 1 1\n");
  const auto answer = nlohmann::json::parse(algos("lyndon --json", "printf FBFBFB | ").out);
  EXPECT_EQ(answer["cyclic_period"], 2);
  EXPECT_EQ(answer["least_rotation"], 1);
  EXPECT_EQ(answer["lyndon_array"], (std::vector<int>{1, 2, 1, 2, 1, 1}));
  EXPECT_EQ(answer["factors"].size(), 4U);
}

TEST(TesseraAlgos, EmptyInputHasAnAnswer) {
  EXPECT_EQ(nlohmann::json::parse(algos("lyndon --json </dev/null").out)["cyclic_period"], 0);
  EXPECT_EQ(nlohmann::json::parse(algos("bwt --json </dev/null").out)["primary_index"], 0);
}

TEST(TesseraAlgos, MistakesAreExplained) {
  const Outcome absent = algos("bwt /no/such/file");
  EXPECT_EQ(absent.exit, 2);
  EXPECT_NE(absent.out.find("remedy"), std::string::npos) << absent.out;
  const Outcome index = algos("bwt --text annbaa --inverse 9");
  EXPECT_EQ(index.exit, 2);
  EXPECT_NE(index.out.find("1 to 6"), std::string::npos) << index.out;
  EXPECT_EQ(algos("bwt --text aaaab --inverse 2").exit, 2);
  EXPECT_EQ(algos("bwt --text a --method fast").exit, 2);
  EXPECT_EQ(algos("").exit, 2);
  EXPECT_EQ(algos("bwt --text a --output /no/such/folder/x").exit, 1);
  EXPECT_EQ(algos("--version").exit, 0);
  EXPECT_EQ(algos("bwt --help").exit, 0);
}

}  // namespace
}  // namespace tessera::tools
