// What is written is read; every field of the wrong type, range or place is refused by name.
#include "runtime/train/checkpoint_manifest.h"

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/model/parameters.h"
#include "tests/support/model_spec.h"
#include "tests/support/sealed_json.h"

namespace tessera::runtime {
namespace {

using test::sealed;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

const std::int64_t kParameters = ParameterLayout(support::small_model()).total();

CheckpointManifest example() {
  CheckpointManifest manifest;
  manifest.meta = {200,
                   0,
                   800,
                   (std::uint64_t{1} << 63) + 5,
                   {{"model.hidden_size", "12"}, {"seed", "é\n"}},
                   support::small_model()};
  manifest.parameters = kParameters;
  manifest.shards = {{"shard-0000-of-0002.bin",
                      12 * (kParameters - 10),
                      "0123456789abcdef",
                      {{0, 10}, {20, kParameters - 20}}},
                     {"shard-0001-of-0002.bin", 12 * 10, "fedcba9876543210", {{10, 10}}}};
  return manifest;
}

TEST(CheckpointManifest, ReadsWhatWasWritten) {
  const CheckpointManifest manifest = example();
  const auto read = parse_checkpoint_manifest(to_json(manifest), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->meta.step, 200);
  EXPECT_EQ(read->meta.next_sample, 800);
  EXPECT_EQ(read->meta.seed, manifest.meta.seed);
  EXPECT_EQ(read->meta.identity, manifest.meta.identity);
  EXPECT_EQ(planner::to_config_json(read->meta.model), planner::to_config_json(manifest.meta.model));
  EXPECT_EQ(read->parameters, kParameters);
  ASSERT_EQ(read->shards.size(), 2U);
  EXPECT_EQ(read->shards[0].ranges, manifest.shards[0].ranges);
  EXPECT_EQ(read->shards[1].file, "shard-0001-of-0002.bin");
  EXPECT_EQ(to_json(read.value()), to_json(manifest));
}

TEST(CheckpointManifest, EveryFlippedBitIsRefused) {
  const std::string text = to_json(example());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const auto read = parse_checkpoint_manifest(damaged, "m");
    // White space between tokens is not part of what is sealed.
    const bool white = std::string(" \n").find(text[i]) != std::string::npos;
    if (read.ok()) {
      EXPECT_TRUE(white) << i << ": " << text.substr(i > 20 ? i - 20 : 0, 40);
      EXPECT_EQ(to_json(read.value()), text);
    } else {
      EXPECT_EQ(read.status().code(), Code::kDataLoss);
    }
  }
}

TEST(CheckpointManifest, EachWrongFieldIsNamed) {
  const auto set = [](const char* pointer, Json value) {
    return [=](Json& json) { json[Json::json_pointer(pointer)] = value; };
  };
  const auto erase = [](const char* field) { return [=](Json& json) { json.erase(field); }; };
  struct Row {
    std::function<void(Json&)> change;
    std::vector<std::string> says;
  };
  const std::vector<Row> rows = {
      {set("/format", "other"), {"format", "\"other\"", "tessera-checkpoint"}},
      {set("/version", 1), {"version", "found     1", "2: this program reads no other"}},
      {set("/step", -1), {"step", "-1"}},
      {set("/step", 1.5), {"step", "1.5"}},
      {set("/next_sample", std::uint64_t{1} << 63), {"next_sample", "9223372036854775808"}},
      {set("/seed", "5"), {"seed", "\"5\""}},
      {erase("step"), {"step", "nothing"}},
      {erase("model"), {"model", "nothing"}},
      {set("/model/hidden_size", 0), {"hidden_size", "0"}},
      {set("/run", 3), {"run", "3"}},
      {set("/run/seed", 3), {"run", "an object of texts"}},
      {set("/parameters", kParameters + 1), {"parameters", "which the model has"}},
      {set("/shards/0/ranges/1/1", kParameters - 21), {"shards[0].bytes"}},
      {erase("shards"), {"shards", "nothing"}},
      {set("/shards", Json::array()), {"gap or overlap at parameter 0"}},
      {set("/shards", Json::object()), {"shards", "an array"}},
      {set("/shards/1/file", "../elsewhere"), {"shards[1].file", "beside the manifest"}},
      {set("/shards/1/file", ""), {"shards[1].file"}},
      {set("/shards/1/bytes", 119), {"shards[1].bytes", "120"}},
      {set("/shards/0/ranges", Json::array({1, 2})), {"shards[0].ranges", "pairs"}},
      {set("/shards/0/ranges/0/1", std::int64_t{1} << 62), {"shards[0].ranges"}},
      {set("/shards/1/ranges/0/0", 9), {"gap or overlap at parameter 10"}},
      {set("/shards/1", 7), {"shards[1].file", "nothing"}},
  };
  for (const Row& row : rows) {
    Json json = Json::parse(to_json(example()));
    row.change(json);
    const auto read = parse_checkpoint_manifest(sealed(json), "dir/manifest.json");
    ASSERT_FALSE(read.ok()) << row.says[0];
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
    EXPECT_THAT(read.status().message(), HasSubstr("dir/manifest.json"));
    for (const std::string& part : row.says) EXPECT_THAT(read.status().message(), HasSubstr(part));
  }
}

TEST(CheckpointManifest, OverlappingRangesAreRefused) {
  CheckpointManifest manifest = example();
  manifest.shards.push_back(
      {"shard-0002-of-0003.bin", 12 * 5, "0", {{kParameters - 5, 5}}});  // ends where all end
  EXPECT_FALSE(parse_checkpoint_manifest(to_json(manifest), "m").ok());
}

TEST(CheckpointManifest, TextThatIsNoManifestIsRefused) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  for (const std::string& text : std::vector<std::string>{
           "", "{", "[]", "null", "{}", "\xff", deep, "{\"format\": " + deep + "}", "{\"step\": 1e999}"}) {
    const auto read = parse_checkpoint_manifest(text, "m");
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
  }
}

}  // namespace
}  // namespace tessera::runtime
