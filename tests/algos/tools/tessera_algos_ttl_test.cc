// tessera-algos ttl as a user meets it: what is printed, what stays in a ledger file, the exit status.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/algos/tools/run_algos.h"

namespace tessera::tools {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

/// ttl 10 on 4 buckets: a grid of 3.
class TesseraAlgosTtl : public ::testing::Test {
 protected:
  TesseraAlgosTtl() {
    std::filesystem::remove(ledger);
    write(
        "0 credit 1 100\n5 spend 1 30\n6 transfer 1 2 40\n7 spend 2 50\n11 balance 2\n12 balance 2\n20 "
        "credit 1 5\n");
  }
  void write(const std::string& text) const { std::ofstream(file) << text; }

  std::string file = ::testing::TempDir() + "ttl_operations";
  std::string ledger = ::testing::TempDir() + "ttl_test.ledger";
  std::string replay = "ttl replay " + file + " --ttl 10 --buckets 4 ";
};

TEST_F(TesseraAlgosTtl, ReplayPrintsForPeople) {
  write("0 credit alice 7\n1 spend alice 9\n12 balance alice\n");
  const Outcome outcome = algos(replay);
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out,
            "operation                                outcome                balance\n"
            "0 credit alice 7                         done                   7\n"
            "1 spend alice 9                          insufficient_balance   7\n"
            "12 balance alice                         done                   0\n"
            "\n"
            "operations     2 done, 1 refused\n"
            "policy         ttl 10, 4 buckets, grid of 3, at most 4 records an account\n"
            "clock          1\ncredited       7\nspent          0\nexpired        0\nlive           7\n"
            "account                           balance  records  next expiry\n"
            "alice                                   7        1  7 at 12\n");
}

TEST_F(TesseraAlgosTtl, ReplayAsJsonFromStandardInput) {
  const Outcome outcome = algos("ttl replay --ttl 10 --buckets 4 --json", "cat " + file + " | ");
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  const json answer = json::parse(outcome.out);
  EXPECT_EQ(answer["totals"], json::parse(R"({"credited":105,"spent":30,"expired":70,"live":5})"));
  EXPECT_EQ(answer["done"], 6);
  EXPECT_EQ(answer["refused"], 1);
  EXPECT_EQ(answer["operations"].size(), 7U);
  EXPECT_EQ(answer["operations"][3]["outcome"], "insufficient_balance");
  EXPECT_EQ(answer["operations"][4]["balance"], 40);
  EXPECT_EQ(answer["operations"][5]["balance"], 0);
  EXPECT_EQ(answer["accounts"][0]["next_expiry"], json::parse(R"({"at":30,"amount":5})"));
  EXPECT_FALSE(json::parse(algos(replay + "--json --summary").out).contains("operations"));
}

TEST_F(TesseraAlgosTtl, ALedgerFileGoesOnFromRunToRun) {
  ASSERT_EQ(algos(replay + "--ledger " + ledger).exit, 0);
  write("21 spend 1 2\n");
  ASSERT_EQ(algos(replay + "--ledger " + ledger).exit, 0);
  const Outcome shown = algos("ttl show " + ledger + " --json");
  ASSERT_EQ(shown.exit, 0) << shown.out;
  const json answer = json::parse(shown.out);
  EXPECT_EQ(answer["totals"], json::parse(R"({"credited":105,"spent":32,"expired":70,"live":3})"));
  EXPECT_EQ(answer["accounts"].size(), 1U);
  EXPECT_EQ(answer["file"]["logged_operations"], 5);
  EXPECT_THAT(algos("ttl show " + ledger).out, HasSubstr("5 operations logged since"));
}

TEST_F(TesseraAlgosTtl, TotalsBeyond64BitsAreWhole) {
  write("0 credit 1 18446744073709551615\n0 credit 2 18446744073709551615\n");
  EXPECT_EQ(json::parse(algos(replay + "--json").out)["totals"]["live"], "36893488147419103230");
}

TEST_F(TesseraAlgosTtl, PermanentAndEmpty) {
  write("");
  const Outcome outcome = algos("ttl replay " + file + " --ttl 0");
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_THAT(outcome.out, HasSubstr("permanent"));
}

TEST_F(TesseraAlgosTtl, MistakesAreExplainedAndChangeNothing) {
  const auto complaint = [](const std::string& arguments) {
    const Outcome outcome = algos(arguments);
    EXPECT_EQ(outcome.exit, 2) << arguments;
    EXPECT_THAT(outcome.out, ::testing::StartsWith("error: "));
    return outcome.out;
  };
  EXPECT_THAT(complaint("ttl replay /no/such/file --ttl 10"), HasSubstr("/no/such/file"));
  EXPECT_THAT(complaint("ttl replay " + file + " --ttl -1"), HasSubstr("ttl"));
  EXPECT_THAT(complaint("ttl replay " + file + " --ttl 10 --buckets 0"), HasSubstr("buckets"));
  EXPECT_THAT(complaint("ttl replay " + file + " --ttl 10 --max-step 0"), HasSubstr("max_step"));
  EXPECT_THAT(complaint("ttl replay " + file + " --ttl 10 --start -1"), HasSubstr("start"));
  write("0 credit 1 5\n1 credit 1 -5\n");
  EXPECT_THAT(complaint(replay + "--ledger " + ledger), HasSubstr("line 2"));
  write("0 credit alice 5\n");
  EXPECT_THAT(complaint(replay + "--ledger " + ledger), HasSubstr("alice"));
  EXPECT_FALSE(std::filesystem::exists(ledger));
  EXPECT_THAT(complaint("ttl show " + file), HasSubstr("no ledger file"));
  EXPECT_EQ(algos("ttl replay " + file).exit, 2) << "--ttl is required";
  EXPECT_EQ(algos("ttl").exit, 2);
  EXPECT_EQ(algos("ttl replay --help").exit, 0);
}

}  // namespace
}  // namespace tessera::tools
