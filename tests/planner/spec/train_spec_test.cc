#include "planner/spec/train_spec.h"

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;

TrainSpec usable() {
  TrainSpec spec;
  spec.model = "config.json";
  spec.data = {"text.txt"};
  return spec;
}

TEST(TrainSpec, DeepNestingIsRefused) {
  TrainSpec spec;
  const std::string deep = R"({"steps": )" + std::string(200000, '[') + std::string(200000, ']') + "}";
  const Status status = apply_train_json(deep, "train.json", spec);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("train.json"), std::string::npos);
  EXPECT_NE(status.message().find("nested more than 64 deep"), std::string::npos) << status.message();
}

TEST(TrainSpec, EveryRowHasHelpRangeAndAUniqueName) {
  std::set<std::string> names;
  for (const TrainOption& option : train_options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_FALSE(option.range.empty()) << option.name;
    EXPECT_FALSE(option.group.empty()) << option.name;
    EXPECT_EQ(option.flag().find('_'), std::string::npos);
  }
}

TEST(TrainSpec, DefaultsPassTheirOwnRanges) {
  TrainSpec spec;
  for (const TrainOption& option : train_options()) {
    if (option.default_value.empty()) continue;
    const Status status = set_train_option(spec, option.name, option.default_value, option.flag());
    EXPECT_TRUE(status.ok()) << status.message();
  }
  EXPECT_EQ(to_train_json(spec), to_train_json(TrainSpec()));
}

TEST(TrainSpec, JsonIsReadBackAsItWasWritten) {
  TrainSpec spec = usable();
  spec.data = {"a.txt", "b.bin"};
  spec.steps = 77;
  spec.learning_rate = 3.25e-4;
  spec.mesh = "u2:1x2";
  spec.recompute = "on";
  TrainSpec back;
  const Status status = apply_train_json(to_train_json(spec), "train.json", back);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(to_train_json(back), to_train_json(spec));
  EXPECT_EQ(back.data, spec.data);
}

TEST(TrainSpec, AFlagHasTheLastWord) {
  TrainSpec spec;
  ASSERT_TRUE(apply_train_json(R"({"steps": 5, "data": "one.txt", "recompute": true})", "f", spec).ok());
  ASSERT_TRUE(set_train_option(spec, "steps", "9", "--steps").ok());
  EXPECT_EQ(spec.steps, 9);
  EXPECT_EQ(spec.data, std::vector<std::string>{"one.txt"});
  EXPECT_EQ(spec.recompute, "on");
  ASSERT_TRUE(set_train_option(spec, "data", "a,b", "--data").ok());
  EXPECT_EQ(spec.data, (std::vector<std::string>{"a", "b"}));
}

struct Bad {
  const char* json;
  const char* field;
  const char* found;
  const char* expected;
};

class BadTrainJson : public ::testing::TestWithParam<Bad> {};

TEST_P(BadTrainJson, NamesFileFieldFoundAndExpected) {
  TrainSpec spec;
  const Status status = apply_train_json(GetParam().json, "my/train.json", spec);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("my/train.json"));
  EXPECT_THAT(status.message(), HasSubstr(GetParam().field));
  EXPECT_THAT(status.message(), HasSubstr(GetParam().found));
  EXPECT_THAT(status.message(), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadTrainJson,
    ::testing::Values(Bad{"{", "", "parse error", "one JSON object"},
                      Bad{"[1]", "", "array", "one JSON object"},
                      Bad{R"({"stepz": 3})", "stepz", "a field of this name", "did you mean steps?"},
                      Bad{R"({"steps": "3"})", "steps", "\"3\"", "an integer from 1"},
                      Bad{R"({"steps": 0})", "steps", "0", "an integer from 1"},
                      Bad{R"({"steps": 2.5})", "steps", "2.5", "an integer from 1"},
                      Bad{R"({"learning_rate": -1})", "learning_rate", "-1", "a number from 0"},
                      Bad{R"({"dropout": 1})", "dropout", "1", "below 1"},
                      Bad{R"({"beta2": 1.5})", "beta2", "1.5", "below 1"},
                      Bad{R"({"schedule": "exp"})", "schedule", "exp", "cosine | linear | wsd | constant"},
                      Bad{R"({"layout": 3})", "layout", "3", "zigzag"},
                      Bad{R"({"data": [1]})", "data", "[1]", "one or more paths"},
                      Bad{R"({"precision": "bf16"})", "precision", "bf16", "fp32"}));

TEST(TrainSpec, NumbersMustBeWhole) {
  TrainSpec spec;
  for (const char* text : {"", "3x", "x", "nan", "inf", "1e999", " 3"}) {
    EXPECT_FALSE(set_train_option(spec, "steps", text, "--steps").ok()) << text;
    EXPECT_FALSE(set_train_option(spec, "learning_rate", text, "--learning-rate").ok()) << text;
  }
}

TEST(TrainSpec, FieldsAreHeldAgainstEachOther) {
  EXPECT_TRUE(check_train_spec(usable()).ok());
  const auto message = [](auto change) {
    TrainSpec spec = usable();
    change(spec);
    const Status status = check_train_spec(spec);
    EXPECT_FALSE(status.ok());
    return status.message();
  };
  EXPECT_THAT(message([](TrainSpec& s) { s.model = ""; }), HasSubstr("add --model"));
  EXPECT_THAT(message([](TrainSpec& s) { s.data.clear(); }), HasSubstr("add --data"));
  EXPECT_THAT(message([](TrainSpec& s) { s.min_learning_rate = 1; }), HasSubstr("at most learning_rate"));
  EXPECT_THAT(message([](TrainSpec& s) { s.warmup = 2000; }), HasSubstr("at most steps"));
  EXPECT_THAT(message([](TrainSpec& s) {
                s.global_batch = 10;
                s.data_parallel = 2;
                s.micro_batch = 2;
              }),
              HasSubstr("use --global-batch 12"));
  EXPECT_THAT(message([](TrainSpec& s) { s.eval_fraction = 0; }), HasSubstr("--eval-interval 0"));
}

TEST(TrainSpec, AMisspelledNameFindsItsNeighbour) {
  EXPECT_EQ(nearest_train_option("sequence_lenght"), "sequence_length");
  EXPECT_EQ(nearest_train_option("step"), "steps");
  EXPECT_EQ(nearest_train_option("completely_different"), "");
}

}  // namespace
}  // namespace tessera::planner
