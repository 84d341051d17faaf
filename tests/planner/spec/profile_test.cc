// profile.json: reads back what it writes, and says what is wrong.
#include "planner/spec/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;

const char* const kProfile = R"({"devices": {"A100-40": {"base_bytes": 1.2e9, "layers": [
    {"kind": "decoder", "tp": 2, "micro_batch": 4, "forward_s": 0.011, "backward_s": 0.021, "update_s": 0.004,
     "workspace_bytes": 2.1e9, "activation_bytes": 3.1e8, "parameter_bytes": 1.2e8},
    {"kind": "decoder", "layer": 3, "tp": 2, "micro_batch": 4, "context": "1x2", "sequence_length": 2048,
     "recompute": "selective", "forward_s": 1, "backward_s": 2, "activation_bytes": 3, "parameter_bytes": 4},
    {"kind": "head", "forward_s": 1, "backward_s": 2, "activation_bytes": 0, "parameter_bytes": 4}]}},
  "links": {"A100-40": {"intra": {"points": [[0, 1e-5], [1e9, 0.01]]}}},
  "collectives": [{"kind": "all_reduce", "device": "A100-40", "ranks": 8, "nodes": 2,
                   "points": [[1e6, 0.001], [1e8, 0.04]]},
                  {"kind": "all_gather", "device": "A100-40", "ranks": 4,
                   "curve": {"latency_us": 10, "gb_per_s": 5}}]})";

TEST(Profile, ReadsWhatItWrites) {
  const auto profile = parse_profile(kProfile, "profile.json");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  const DeviceProfile& device = profile->devices.at("A100-40");
  ASSERT_EQ(device.layers.size(), 3U);
  EXPECT_EQ(device.layers[0].workspace_bytes, 2.1e9);
  EXPECT_EQ(device.layers[1].layer, 3);
  EXPECT_EQ(device.layers[1].recompute, "selective");
  EXPECT_EQ(device.layers[2].kind, LayerKind::kHead);
  EXPECT_EQ(device.layers[2].tensor_parallel, 1);
  EXPECT_TRUE(profile->links.at("A100-40").inter.empty());
  EXPECT_DOUBLE_EQ(profile->collectives[0].curve.seconds(1e8), 0.04);
  EXPECT_EQ(profile->collectives[1].nodes, 1);
  const std::string text = to_profile_json(profile.value());
  const auto again = parse_profile(text, "again.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value(), profile.value());
  EXPECT_EQ(to_profile_json(again.value()), text);
}

TEST(Profile, RefusesByPath) {
  const auto json = nlohmann::json::parse(kProfile);
  const std::vector<std::tuple<const char*, nlohmann::json, const char*>> changes{
      {"/devices/A100-40/layers/0/kind", "conv", "layers[0].kind"},
      {"/devices/A100-40/layers/0/forward_s", -1, "layers[0].forward_s"},
      {"/devices/A100-40/layers/0/forward_s", 1e9, "layers[0].forward_s"},
      {"/devices/A100-40/layers/0/tp", 0, "layers[0].tp"},
      {"/devices/A100-40/layers/0/forwards", 1, "did you mean forward_s?"},
      {"/devices/A100-40/layers/0/recompute", "some", "layers[0].recompute"},
      {"/devices/A100-40/layers/2/layer", 1, "layers[2].layer"},
      {"/devices/A100-40/layers/1", json["devices"]["A100-40"]["layers"][0], "one row per"},
      {"/devices/A100-40", 3, "devices.A100-40"},
      {"/links/A100-40/intra", 3, "links.A100-40.intra"},
      {"/collectives/0/ranks", 1, "collectives[0].ranks"},
      {"/collectives/0/nodes", 9, "collectives[0].nodes"},
      {"/collectives/0/points", nlohmann::json::array({{1, -1}}), "collectives[0].curve.points"},
      {"/collectives/1/points", nlohmann::json::array({{1, 1}}), "either"},
      {"/surprise", 1, "surprise"}};
  for (const auto& [place, value, text] : changes) {
    auto wrong = json;
    wrong[nlohmann::json::json_pointer(place)] = value;
    const auto profile = parse_profile(wrong.dump(), "my.json");
    ASSERT_FALSE(profile.ok()) << place;
    EXPECT_THAT(profile.status().message(), HasSubstr("my.json"));
    EXPECT_THAT(profile.status().message(), HasSubstr(text));
  }
  EXPECT_FALSE(parse_profile("{}", "my.json").ok());
  EXPECT_EQ(read_profile("/nonexistent/profile.json").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace tessera::planner
