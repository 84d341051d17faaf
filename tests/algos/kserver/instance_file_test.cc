// Metric and request files: what is read, and that each mistake names the file and the field.
#include "algos/kserver/instance_file.h"

#include <gtest/gtest.h>

namespace tessera::kserver {
namespace {

TEST(InstanceFile, ReadsEachKindOfMetric) {
  const auto distance = [](const std::string& text, int a, int b) {
    const auto metric = parse_metric(text, "m.json");
    EXPECT_TRUE(metric.ok()) << metric.status().message();
    return metric.value()->distance(Point(a), Point(b));
  };
  EXPECT_EQ(distance(R"({"kind": "line", "positions": [0, -1, 10]})", 1, 2), 11);
  EXPECT_EQ(distance(R"({"kind": "tree", "edges": [[0, 1, 4], [1, 2, 5]]})", 0, 2), 9);
  EXPECT_EQ(distance(R"({"kind": "tree", "edges": []})", 0, 0), 0);
  EXPECT_EQ(distance(R"({"kind": "uniform", "points": 8, "distance": 3})", 7, 2), 3);
  EXPECT_EQ(distance(R"({"kind": "matrix", "distances": [[0, 2], [2, 0]]})", 1, 0), 2);
}

TEST(InstanceFile, ReadsRequests) {
  const auto metric = parse_metric(R"({"kind": "uniform", "points": 3, "distance": 1})", "m.json").value();
  const auto instance = parse_instance(*metric, R"({"servers": [0, 2], "requests": [1, 2, 1]})", "r.json");
  ASSERT_TRUE(instance.ok()) << instance.status().message();
  EXPECT_EQ(instance->servers, (std::vector<Point>{Point(0), Point(2)}));
  EXPECT_EQ(instance->requests, (std::vector<Point>{Point(1), Point(2), Point(1)}));
}

TEST(InstanceFile, MistakesInMetricsNameFileAndField) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", "one JSON object"},
      {"[1]", "one JSON object"},
      {R"({"kind": "line", "positions": [0})", "one JSON object"},
      {R"({"kind": [[[[1]]]]})", "nested"},
      {"{}", "kind"},
      {R"({"kind": "plane"})", "\"plane\""},
      {R"({"kind": 3})", "kind"},
      {R"({"kind": "line"})", "positions"},
      {R"({"kind": "line", "positions": 5})", "an array of whole numbers"},
      {R"({"kind": "line", "positions": [0, 1.5]})", "positions[1]"},
      {R"({"kind": "line", "positions": [0, 1e400]})", "one JSON object"},
      {R"({"kind": "line", "positions": [18446744073709551615]})", "positions[0]"},
      {R"({"kind": "line", "positions": [null]})", "positions[0]"},
      {R"({"kind": "line", "positions": []})", "0 points"},
      {R"({"kind": "line", "positions": [0], "unit": "us"})", "unit"},
      {R"({"kind": "tree", "edges": {"a": 1}})", "an array of arrays"},
      {R"({"kind": "tree", "edges": [[0, 1]]})", "edges[0]"},
      {R"({"kind": "tree", "edges": [[0, 4294967297, 1]]})", "4294967297"},
      {R"({"kind": "tree", "edges": [[0, 7, 1]]})", "point 7"},
      {R"({"kind": "tree", "edges": [[0, 1, -2]]})", "-2"},
      {R"({"kind": "uniform", "points": -3, "distance": 1})", "points"},
      {R"({"kind": "uniform", "points": 3, "distance": -1})", "distance"},
      {R"({"kind": "uniform", "points": 3})", "distance"},
      {R"({"kind": "matrix", "distances": []})", "0 rows"},
      {R"({"kind": "matrix", "distances": [[0, 1], [1]]})", "distances[1]"},
      {R"({"kind": "matrix", "distances": [[0, 9, 1], [9, 0, 1], [1, 1, 0]]})", "triangle"},
  };
  for (const auto& [text, part] : rows) {
    const Status status = parse_metric(text, "m.json").status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("m.json"), std::string::npos) << text << '\n' << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << text << '\n' << status.message();
  }
}

TEST(InstanceFile, MistakesInRequestsNameFileAndField) {
  const auto metric = parse_metric(R"({"kind": "line", "positions": [0, 1]})", "m.json").value();
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"requests": []})", "servers"},
      {R"({"servers": [0]})", "requests"},
      {R"({"servers": [], "requests": []})", "at least one"},
      {R"({"servers": [2], "requests": []})", "servers[0]"},
      {R"({"servers": [0], "requests": [0, 9]})", "requests[1]"},
      {R"({"servers": [0], "requests": [0, 4294967296]})", "4294967296"},
      {R"({"servers": [0], "requests": ["0"]})", "requests[0]"},
      {R"({"servers": [0], "requests": [], "k": 1})", "k"},
  };
  for (const auto& [text, part] : rows) {
    const Status status = parse_instance(*metric, text, "r.json").status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("r.json"), std::string::npos) << text;
    EXPECT_NE(status.message().find(part), std::string::npos) << text << '\n' << status.message();
  }
}

}  // namespace
}  // namespace tessera::kserver
