// What is written is read; what would lead outside the directory, or stands twice, is refused by name.
#include "runtime/model/safetensors_index.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

using ::testing::HasSubstr;

TEST(SafetensorsIndex, ReadsWhatWasWritten) {
  const SafetensorsIndex index{123456789012, {{"b", "model-2"}, {"a", "model-1"}, {"é\"", "model-1"}}};
  const auto read = parse_safetensors_index(to_json(index), "i");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->total_size, index.total_size);
  EXPECT_EQ(read->file_of, index.file_of);
}

TEST(SafetensorsIndex, MetadataIsOptional) {
  for (const char* metadata :
       {"", R"("metadata": {},)", R"("metadata": 3,)", R"("metadata": {"total_size": 12.5},)"}) {
    const auto read =
        parse_safetensors_index("{" + std::string(metadata) + R"("weight_map": {"a": "f"}})", "i");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->total_size, 0);
    EXPECT_EQ(read->file_of.at("a"), "f");
  }
}

TEST(SafetensorsIndex, MalformedOnesAreRefusedByName) {
  const struct {
    std::string text;
    std::vector<std::string> says;
  } rows[] = {
      {"", {"a JSON object"}},
      {"[]", {"a JSON object"}},
      {"{\"weight_map\": " + std::string(100000, '[') + std::string(100000, ']') + "}", {"a JSON object"}},
      {"{}", {"weight_map", "nothing"}},
      {R"({"weight_map": []})", {"weight_map", "no object"}},
      {R"({"weight_map": {"a": 3}})", {"weight_map.a", "3"}},
      {R"({"weight_map": {"a": ""}})", {"weight_map.a"}},
      {R"({"weight_map": {"a": "../f"}})", {"weight_map.a", "../f", "beside the index"}},
      {R"({"weight_map": {"a": "/etc/passwd"}})", {"weight_map.a"}},
      {R"({"weight_map": {"a": ".."}})", {"weight_map.a"}},
      {R"({"weight_map": {"a": "f\u0000g"}})", {"weight_map.a"}},
      {R"({"weight_map": {"a": "f", "a": "g"}})", {"weight_map.a", "twice"}},
  };
  for (const auto& row : rows) {
    const auto read = parse_safetensors_index(row.text, "dir/index.json");
    ASSERT_FALSE(read.ok()) << row.text.substr(0, 60);
    EXPECT_THAT(read.status().message(), HasSubstr("dir/index.json"));
    for (const std::string& part : row.says) EXPECT_THAT(read.status().message(), HasSubstr(part));
  }
}

}  // namespace
}  // namespace tessera::runtime
