// cluster.json: rows, tables, links, and what is refused.
#include "planner/spec/cluster_spec.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/spec/device_table.h"

namespace tessera::planner {
namespace {

using ::testing::HasSubstr;

Result<ClusterSpec> parse(const std::string& nodes) {
  return parse_cluster_spec(R"({"nodes": [)" + nodes + "]}", "my.json");
}

TEST(ClusterSpec, ReadsTheExampleOfItsHeader) {
  const auto cluster = parse(R"(
     {"name": "a", "gpu": "A100-40", "count": 8, "nodes": 4, "network_gb_per_s": 50,
      "price_per_hour": 21.96, "spot_price_per_hour": 9.83, "preemptions_per_hour": 0.05, "region": "us"},
     {"instance": "p5.48xlarge"},
     {"name": "desk", "gpu": {"name": "CPU core", "kind": "cpu", "gflops": 40, "memory_gb": 4,
                              "memory_gb_per_s": 10}, "count": 2, "speed": 0.5})");
  ASSERT_TRUE(cluster.ok()) << cluster.status().message();
  ASSERT_EQ(cluster->nodes.size(), 6U);
  EXPECT_EQ(cluster->devices(), 4 * 8 + 8 + 2);
  EXPECT_EQ(cluster->nodes[3].name, "a-3");
  EXPECT_EQ(cluster->nodes[0].spot_price_per_hour, 9.83);
  // 100 MB at 0.8 x 50 GB/s after 10 us.
  EXPECT_NEAR(cluster->nodes[0].inter.seconds(1e8), 1e-5 + 1e8 / 40e9, 1e-9);
  EXPECT_EQ(cluster->type_of(cluster->nodes[4]).name, "H100");
  EXPECT_EQ(cluster->nodes[4].devices, 8);
  EXPECT_EQ(cluster->nodes[4].price_per_hour, 55.04);
  EXPECT_EQ(cluster->type_of(cluster->nodes[5]).kind, DeviceKind::kCpu);
  EXPECT_EQ(cluster->nodes[5].speed, 0.5);
  const auto again = parse_cluster_spec(to_cluster_json(cluster.value()), "again.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value(), cluster.value());
}

TEST(ClusterSpec, NamesAreForgiving) {
  for (const char* name : {"a100-40", "A100 40", "a100_40"})
    EXPECT_EQ(find_device_type(name)->name, "A100-40");
  EXPECT_EQ(find_device_type("4090")->name, "RTX 4090");
  EXPECT_FALSE(find_device_type("A100"));  // two of them: which memory?
}

TEST(ClusterSpec, EveryTabledDeviceIsUsable) {
  for (const std::string& name : device_type_names()) {
    const auto cluster = parse(R"({"gpu": ")" + name + R"(", "count": 2})");
    ASSERT_TRUE(cluster.ok()) << cluster.status().message();
    const DeviceType& type = cluster->types.front();
    EXPECT_EQ(type.name, name);
    EXPECT_GT(type.peak_flops, 0);
    EXPECT_LE(type.achievable_share, 1);
    EXPECT_GT(type.memory_bytes, type.reserved_bytes);
    EXPECT_TRUE(std::isfinite(cluster->nodes.front().intra.seconds(1e6)));
  }
  for (const std::string& name : instance_names()) {
    EXPECT_TRUE(parse(R"({"instance": ")" + name + R"("})").ok()) << name;
  }
}

struct Bad {
  const char* node;
  const char* field;
  const char* text;
};
class Refused : public ::testing::TestWithParam<Bad> {};

TEST_P(Refused, SaysWhere) {
  const auto cluster = parse(GetParam().node);
  ASSERT_FALSE(cluster.ok());
  EXPECT_THAT(cluster.status().message(), HasSubstr("my.json"));
  EXPECT_THAT(cluster.status().message(), HasSubstr(GetParam().field));
  EXPECT_THAT(cluster.status().message(), HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Refused,
    ::testing::Values(
        Bad{R"({"gpu": "H10O", "count": 1})", "nodes[0].gpu", "did you mean H100?"},
        Bad{R"({"gpu": "A100-41", "count": 1})", "nodes[0].gpu", "did you mean A100-40?"},
        Bad{R"({"instance": "p4e.24xlarge"})", "instance", "did you mean p4d.24xlarge?"},
        Bad{R"({"gpu": "H100", "cuont": 1})", "nodes[0].\"cuont\"", "did you mean count?"},
        Bad{R"({"count": 1})", "nodes[0].gpu", "nothing"},
        Bad{R"({"gpu": "H100"})", "nodes[0].count", "nothing"},
        Bad{R"({"gpu": "H100", "count": 0})", "count", "from 1 to 1024"},
        Bad{R"({"gpu": "H100", "count": -8})", "count", "-8"},
        Bad{R"({"gpu": "H100", "count": 2.5})", "count", "2.5"},
        Bad{R"({"gpu": "H100", "count": 18446744073709551615})", "count", "18446744073709551615"},
        Bad{R"({"gpu": "H100", "count": 8, "nodes": 1000000})", "nodes", "from 1 to 65536"},
        Bad{R"({"gpu": "H100", "count": 8, "speed": 0})", "speed", "0.001"},
        Bad{R"({"gpu": "H100", "count": 8, "price_per_hour": -1})", "price_per_hour", "-1"},
        Bad{R"({"gpu": "H100", "count": 8, "preemptions_per_hour": "often"})", "preemptions_per_hour",
            "often"},
        Bad{R"({"gpu": "H100", "count": 8, "network_gb_per_s": 0})", "network_gb_per_s", "above 0"},
        Bad{R"({"gpu": {"name": "x", "gflops": -5, "memory_gb": 1, "memory_gb_per_s": 1}, "count": 1})",
            "nodes[0].gpu.gflops", "-5"},
        Bad{R"({"gpu": {"name": "x", "gflops": 5, "memory_gb": 1e9, "memory_gb_per_s": 1}, "count": 1})",
            "memory_gb", "from 0 to 100000"},
        Bad{R"({"gpu": {"name": "x", "gflops": 5, "memory_gb": 1, "reserved_gb": 2, "memory_gb_per_s": 1}, "count": 1})",
            "reserved_gb", "less than memory_gb"},
        Bad{R"({"gpu": {"name": "x", "gflops": 5, "memory_gb": 0, "memory_gb_per_s": 1}, "count": 1})",
            "memory_gb", "above 0"},
        Bad{R"({"gpu": "H100", "count": 1, "intra": {"points": [[1, 2], [1, 3]]}})", "intra.points",
            "rising"},
        Bad{R"({"gpu": "H100", "count": 1, "intra": {"points": []}})", "intra.points", "1 to 4096"},
        Bad{R"({"gpu": "H100", "count": 1, "intra": {"gb_per_s": -2}})", "intra.gb_per_s", "-2"},
        Bad{R"({"gpu": "H100", "count": 1, "inter": {"fit": [1, 2], "max_gb_per_s": 3}})", "inter.fit",
            "three"},
        Bad{R"({"gpu": "H100", "count": 1, "inter": {}})", "inter", "one of"},
        Bad{R"({"name": "a", "gpu": "H100", "count": 1}, {"name": "a", "gpu": "H100", "count": 1})", "nodes",
            "two nodes named"},
        Bad{R"({"gpu": {"name": "H100", "gflops": 5, "memory_gb": 1, "memory_gb_per_s": 1}, "count": 1},
               {"name": "b", "gpu": "H100", "count": 1})",
            "nodes[1].gpu", "name of its own"},
        Bad{"7", "nodes[0]", "an object"}, Bad{"", "nodes", "at least one"}));

TEST(ClusterSpec, OtherTextIsRefused) {
  for (const char* text : {"", "[]", "{", R"({"nodes": 3})", R"({"hosts": []})", R"({})", "\xff"}) {
    EXPECT_THAT(parse_cluster_spec(text, "my.json").status().message(), HasSubstr("my.json")) << text;
  }
  EXPECT_EQ(read_cluster_spec("/nonexistent/cluster.json").status().code(), Code::kNotFound);
}

TEST(LinkCurve, InterpolatesAndExtends) {
  const LinkCurve curve{{{100, 1}, {200, 3}, {400, 4}}};
  EXPECT_EQ(curve.seconds(0), 0);
  EXPECT_EQ(curve.seconds(50), 1);
  EXPECT_DOUBLE_EQ(curve.seconds(150), 2);
  EXPECT_DOUBLE_EQ(curve.seconds(300), 3.5);
  EXPECT_DOUBLE_EQ(curve.seconds(600), 5);  // 200 per second beyond the last point
  EXPECT_EQ(LinkCurve{}.seconds(1), std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(affine_link(1e-3, 1e6).seconds(500), 1.5e-3);
}

TEST(LinkCurve, FitsAreTheirFormulaWhereMeasuredAndNeverFallInTime) {
  // A100-40 intra-node: 0.808 x^2 + 16.40 x + 32.98 GB/s with x = log2 MB, at most 249.
  const LinkCurve curve = fitted_link(0.808, 16.40, 32.98, 249);
  EXPECT_NEAR(curve.seconds(1e6), 1e6 / 32.98e9, 1e-9);
  EXPECT_NEAR(curve.seconds(256e6), 256e6 / ((0.808 * 64 + 16.40 * 8 + 32.98) * 1e9), 1e-6);
  EXPECT_NEAR(curve.seconds(16e9), 16e9 / 249e9, 16e9 / 249e9 * 1e-2);
  for (const auto& [a, b, c, most] :
       std::vector<std::tuple<double, double, double, double>>{{0.808, 16.40, 32.98, 249},
                                                               {-0.0024, 0.141, 1.117, 2.4},
                                                               {-0.752, 26.47, 82.06, 251},
                                                               {-0.019, 0.281, 4.33, 5.3}}) {
    const LinkCurve fit = fitted_link(a, b, c, most);
    double before = 0;
    for (double bytes = 1e3; bytes < 1e11; bytes *= 1.3) {
      const double seconds = fit.seconds(bytes);
      EXPECT_GE(seconds, before);
      EXPECT_GE(seconds, bytes / (most * 1e9) * (1 - 1e-9));
      before = seconds;
    }
  }
}

}  // namespace
}  // namespace tessera::planner
