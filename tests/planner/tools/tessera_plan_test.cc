// tessera-plan as a user meets it: what is printed, what is written, the exit status, one screen per mistake.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/stat.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/run_shell.h"

namespace tessera::planner::tools {
namespace {

using test::Outcome;

Outcome plan(const std::string& arguments) {
  return test::run_shell(std::string(TESSERA_PLAN) + " " + arguments + " 2>&1");
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

bool exists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

const std::string kExamples = std::string(TESSERA_SOURCE) + "/planner/examples/";

/// A small job, so that searching takes no time: 4 layers on two unequal devices each.
class TesseraPlan : public ::testing::Test {
 protected:
  TesseraPlan() {
    write_file(model_, R"({"model_type": "llama", "hidden_size": 512, "intermediate_size": 1376,
      "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 1024, "max_position_embeddings": 512})");
    write_file(cluster_, R"({"nodes": [
      {"name": "fast", "gpu": "H800", "count": 2, "network_gb_per_s": 50, "price_per_hour": 8,
       "spot_price_per_hour": 3},
      {"name": "slow", "gpu": "A100-40", "count": 2, "network_gb_per_s": 25, "price_per_hour": 4,
       "spot_price_per_hour": 1}]})");
    std::remove(out_.c_str());
  }
  [[nodiscard]] std::string job() const {
    return "--model " + model_ + " --cluster " + cluster_ + " --sequence-length 512 --global-batch 16 ";
  }
  const std::string folder_ =
      ::testing::TempDir() + ::testing::UnitTest::GetInstance()->current_test_info()->name() + "-";
  const std::string model_ = folder_ + "config.json";
  const std::string cluster_ = folder_ + "cluster.json";
  const std::string out_ = folder_ + "plan.json";
};

TEST_F(TesseraPlan, PlansAndTheAnswerHoldsTogether) {
  const std::string html = folder_ + "plan.html";
  const std::string trace = folder_ + "trace.json";
  const Outcome outcome =
      plan("plan " + job() + "--compare --json --out " + out_ + " --html " + html + " --trace " + trace);
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  const auto answer = nlohmann::json::parse(outcome.out);
  const double step = answer["iteration_s"];
  EXPECT_GT(step, 0);
  EXPECT_NEAR(step,
              answer["pipeline_s"].get<double>() + answer["exposed_reduction_s"].get<double>() +
                  answer["update_s"].get<double>() + answer["exposed_gather_s"].get<double>(),
              1e-9 * step);
  EXPECT_NEAR(answer["tokens_per_s"].get<double>(), 16 * 512 / step, 1e-6 * 16 * 512 / step);
  EXPECT_LE(answer["lower_bound_s"].get<double>(), answer["analytic_s"].get<double>() * (1 + 1e-9));
  for (const auto& other : answer["compared"])
    EXPECT_GE(other["iteration_s"].get<double>(), step * (1 - 1e-9));
  for (const auto& stage : answer["stages"]) {
    EXPECT_LE(stage["peak_bytes"].get<double>(), stage["capacity_bytes"].get<double>());
  }
  // Prices are those of the nodes that are used.
  double price = 0;
  for (const auto& node : answer["nodes"]) {
    if (node["used_devices"] > 0) price += node["name"] == "fast" ? 8 : 4;
  }
  EXPECT_NEAR(answer["usd_per_million_tokens"].get<double>(),
              price / 3600 / answer["tokens_per_s"].get<double>() * 1e6, 1e-9);
  EXPECT_FALSE(nlohmann::json::parse(read_file(trace))["traceEvents"].empty());
  const std::string page = read_file(html);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
}

TEST_F(TesseraPlan, WhatItWritesItCanCheckAndEvaluate) {
  ASSERT_EQ(plan("plan " + job() + "--out " + out_).exit, 0);
  const Outcome checked = plan("check --plan " + out_ + " --model " + model_ + " --cluster " + cluster_);
  EXPECT_EQ(checked.exit, 0) << checked.out;
  EXPECT_EQ(plan("check --plan " + out_).exit, 0);
  const auto planned = nlohmann::json::parse(plan("plan " + job() + "--json").out);
  const auto evaluated = nlohmann::json::parse(
      plan("evaluate --plan " + out_ + " --model " + model_ + " --cluster " + cluster_ + " --json").out);
  EXPECT_DOUBLE_EQ(planned["iteration_s"].get<double>(), evaluated["iteration_s"].get<double>());
  EXPECT_EQ(planned["stages"], evaluated["stages"]);
}

TEST_F(TesseraPlan, EvaluatesFromAProfileAlone) {
  ASSERT_EQ(plan("plan " + job() +
                 "--system megatron --tensor-parallel 1 --micro-batch 1 --recompute none --out " + out_)
                .exit,
            0);
  const std::string profile = folder_ + "profile.json";
  const auto row = [](const char* kind) {
    return nlohmann::json{
        {"kind", kind},      {"tp", 1},           {"micro_batch", 1},        {"forward_s", 0.25},
        {"backward_s", 0.5}, {"update_s", 0.001}, {"activation_bytes", 1e6}, {"parameter_bytes", 1e6}};
  };
  const nlohmann::json layers = {row("embedding"), row("decoder"), row("head")};
  write_file(profile,
             nlohmann::json{{"devices", {{"H800", {{"layers", layers}}}, {"A100-40", {{"layers", layers}}}}}}
                 .dump());
  const Outcome outcome = plan("evaluate --plan " + out_ + " --profile " + profile + " --json");
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  const auto answer = nlohmann::json::parse(outcome.out);
  double forward = 0;
  for (const auto& stage : answer["stages"]) {
    if (stage["group"] == 0) forward += stage["forward_s"].get<double>();
  }
  EXPECT_DOUBLE_EQ(forward, 0.25 * 6);  // embedding, four layers, head
}

TEST_F(TesseraPlan, PrintsForPeople) {
  const Outcome outcome = plan("plan " + job() + "--what-if add:slow");
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  for (const char* expected :
       {"layers", "peak GB", "tokens/s", "MFU", "bubble", "per million tokens on demand", "recovery", "gap",
        "slow+1", "without the change"}) {
    EXPECT_NE(outcome.out.find(expected), std::string::npos) << expected << "\n" << outcome.out;
  }
}

TEST_F(TesseraPlan, MoreDevicesAreNotSlower) {
  const auto few = nlohmann::json::parse(plan("plan " + job() + "--json").out);
  const auto many = nlohmann::json::parse(plan("plan " + job() + "--what-if add:fast*2 --json").out);
  EXPECT_LE(many["iteration_s"].get<double>(), few["iteration_s"].get<double>() * (1 + 1e-9));
  const auto fewer = nlohmann::json::parse(plan("plan " + job() + "--what-if remove:fast --json").out);
  EXPECT_GT(fewer["iteration_s"].get<double>(), few["iteration_s"].get<double>());
}

TEST_F(TesseraPlan, ExplainsWhatDoesNotFit) {
  const Outcome outcome = plan("plan --model " + kExamples + "llama_70b.json --cluster " + cluster_ +
                               " --global-batch 16 --out " + out_);
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_NE(outcome.out.find("GB"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("tensor parallel 2"), std::string::npos) << outcome.out;
  EXPECT_FALSE(exists(out_));
}

TEST_F(TesseraPlan, MistakesAreExplainedAndWriteNothing) {
  struct Mistake {
    std::string arguments;
    std::string expected;
  };
  write_file(folder_ + "bad.json", R"({"nodes": [{"gpu": "H80", "count": 2}]})");
  write_file(folder_ + "negative.json", R"({"nodes": [{"gpu": "H800", "count": -2}]})");
  const Mistake mistakes[] = {
      {"plan --model " + model_, "--cluster"},
      {"plan --model /no/such.json --cluster " + cluster_, "/no/such.json"},
      {"plan --model " + model_ + " --cluster " + folder_ + "bad.json", "H800"},  // the nearest name
      {"plan --model " + model_ + " --cluster " + folder_ + "negative.json", "count"},
      {"plan " + job() + "--what-if remove:fats", "did you mean fast?"},
      {"plan " + job() + "--what-if add:H80:8", "did you mean H20?"},
      {"plan " + job() + "--what-if add:fast*0", "behind *"},
      {"plan " + job() + "--what-if remove:fast --what-if remove:slow", "remains"},
      {"plan " + job() + "--what-if grow", "remove:NAME"},
      {"plan " + job() + "--system alpa", "tessera, megatron or whale"},
      {"plan " + job() + "--precision int8", "fp32, bf16 or fp16"},
      {"plan " + job() + "--recompute some", "none, selective or full"},
      {"plan " + job() + "--context 1y2", "1y2"},
      {"evaluate --plan " + model_, "error"},
      {"check --plan /no/plan.json", "/no/plan.json"},
      {"draw", "subcommand is required"},
  };
  for (const Mistake& mistake : mistakes) {
    const bool plans = mistake.arguments.starts_with("plan");
    const Outcome outcome = plan(mistake.arguments + (plans ? " --out " + out_ : ""));
    EXPECT_EQ(outcome.exit, 2) << mistake.arguments << "\n" << outcome.out;
    EXPECT_NE(outcome.out.find(mistake.expected), std::string::npos) << mistake.arguments << "\n"
                                                                     << outcome.out;
    EXPECT_LE(std::ranges::count(outcome.out, '\n'), 24) << outcome.out;
    EXPECT_FALSE(exists(out_)) << mistake.arguments;
  }
  EXPECT_EQ(plan("--version").exit, 0);
  EXPECT_EQ(plan("plan --help").exit, 0);
}

TEST_F(TesseraPlan, ATimeLimitGivesTheBestSoFar) {
  const Outcome outcome =
      plan("plan --model " + kExamples + "llama_7b.json --cluster " + kExamples +
           "a100_h800_h20.json --train " + kExamples + "pretrain_4k.json --time-limit 0.05 --json");
  // Either a plan was found in that time, with its gap, or the message says that there was none yet.
  if (outcome.exit == 0) {
    const auto answer = nlohmann::json::parse(outcome.out);
    EXPECT_GE(answer["gap"].get<double>(), 0);
  } else {
    EXPECT_EQ(outcome.exit, 2) << outcome.out;
  }
}

TEST_F(TesseraPlan, AnInterruptTakesTheBestPlanSoFarWithItsGap) {
  // Hundreds of devices of three types keep the search busy for much longer than the signal waits. In the
  // foreground: else timeout signals its whole group too, and a second interrupt ends the program.
  write_file(cluster_, R"({"nodes": [
      {"name": "a", "gpu": "A100-40", "count": 8, "nodes": 24, "network_gb_per_s": 25},
      {"name": "h", "gpu": "H800", "count": 8, "nodes": 8, "network_gb_per_s": 50},
      {"name": "x", "gpu": "H20", "count": 8, "nodes": 48, "network_gb_per_s": 50}]})");
  const Outcome outcome =
      test::run_shell("timeout --foreground --preserve-status --signal=INT 2 " + std::string(TESSERA_PLAN) +
                      " plan --model " + kExamples + "llama_70b.json --cluster " + cluster_ +
                      " --sequence-length 4096 --global-batch 1024 --json");
  ASSERT_EQ(outcome.exit, 0) << outcome.out;
  const auto answer = nlohmann::json::parse(outcome.out);
  EXPECT_GT(answer["iteration_s"].get<double>(), 0);
  EXPECT_GE(answer["gap"].get<double>(), 0);
  EXPECT_LT(answer["gap"].get<double>(), 1);
}

}  // namespace
}  // namespace tessera::planner::tools
