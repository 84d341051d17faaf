// The four metrics against distances computed another way, and what they refuse.
#include <limits>

#include <gtest/gtest.h>

#include "tests/algos/kserver/instances.h"

namespace tessera::kserver {
namespace {

using test::Random;

constexpr Distance kHuge = std::numeric_limits<Distance>::max();

/// Distances of a tree by Floyd over its edges.
std::vector<Distance> by_floyd(std::span<const TreeEdge> edges) {
  const std::size_t n = edges.size() + 1;
  std::vector<Distance> table(n * n, kMaxDistance);
  for (std::size_t i = 0; i < n; ++i) table[i * n + i] = 0;
  for (const TreeEdge& e : edges) {
    const auto a = static_cast<std::size_t>(e.a.value);
    const auto b = static_cast<std::size_t>(e.b.value);
    table[a * n + b] = table[b * n + a] = e.length;
  }
  shortest_paths(table, static_cast<std::int32_t>(n));
  return table;
}

void expect_metric(const Metric& metric, const std::vector<Distance>& expected) {
  const auto n = static_cast<std::size_t>(metric.points());
  ASSERT_EQ(expected.size(), n * n);
  std::vector<Distance> scratch(n);
  Distance diameter = 0;
  for (std::size_t a = 0; a < n; ++a) {
    const Point from(static_cast<std::int32_t>(a));
    const auto row = metric.distances_from(from, scratch);
    for (std::size_t b = 0; b < n; ++b) {
      ASSERT_EQ(metric.distance(from, Point(static_cast<std::int32_t>(b))), expected[a * n + b])
          << a << ' ' << b;
      ASSERT_EQ(row[b], expected[a * n + b]);
      diameter = std::max(diameter, row[b]);
    }
  }
  EXPECT_EQ(metric.diameter(), diameter);
}

/// A random tree whose edges are at hand.
std::vector<TreeEdge> random_edges(Random& random, int n, int recent) {
  std::vector<TreeEdge> edges;
  for (int i = 1; i < n; ++i) {
    const auto parent = static_cast<std::int32_t>(test::between(random, std::max(0, i - recent), i - 1));
    edges.push_back({Point(n - 1 - parent), Point(n - 1 - i), test::between(random, 0, 9)});
  }
  return edges;
}

TEST(TreeMetric, EqualsFloyd) {
  Random random(1);
  for (int round = 0; round < 60; ++round) {
    const auto edges = random_edges(random, 1 + round, round % 3 == 0 ? 1 : (round % 3 == 1 ? 4 : 1000));
    expect_metric(TreeMetric::make(edges).value(), by_floyd(edges));
  }
}

TEST(TreeMetric, PlacesOnEdgesAreDistancesOfTheSubdividedTree) {
  // Each edge of length L becomes L edges of length 1; every place is then a node.
  Random random(2);
  for (int round = 0; round < 20; ++round) {
    std::vector<TreeEdge> edges = random_edges(random, 12, round % 2 == 0 ? 3 : 1000);
    for (TreeEdge& e : edges) e.length = std::max<Distance>(e.length, 1);
    const TreeMetric tree = TreeMetric::make(edges).value();
    std::vector<TreeEdge> fine;
    std::vector<std::pair<TreePlace, Point>> places;
    for (int p = 0; p < tree.points(); ++p) places.push_back({{Point(p), 0}, Point(p)});
    int next = tree.points();
    for (const TreeEdge& e : edges) {
      Point last = e.a;
      for (Distance i = 1; i < e.length; ++i) {
        fine.push_back({last, Point(next), 1});
        last = Point(next++);
        places.push_back({tree.toward({e.a, 0}, e.b, i), last});
      }
      fine.push_back({last, e.b, 1});
    }
    const TreeMetric subdivided = TreeMetric::make(fine).value();
    for (const auto& [place, node] : places) {
      for (const auto& [other, other_node] : places) {
        ASSERT_EQ(tree.distance(place, other), subdivided.distance(node, other_node));
      }
      for (int p = 0; p < tree.points(); ++p) {
        const Distance whole = tree.distance(place, TreePlace{Point(p), 0});
        for (Distance by = 0; by <= whole; ++by) {
          const TreePlace there = tree.toward(place, Point(p), by);
          ASSERT_EQ(tree.distance(place, there), by);
          ASSERT_EQ(tree.distance(there, TreePlace{Point(p), 0}), whole - by);
        }
      }
    }
  }
}

TEST(Metrics, LineUniformAndMatrixAreTheirFormulas) {
  expect_metric(LineMetric::make({5, -3, 5}).value(), {0, 8, 0, 8, 0, 8, 0, 8, 0});
  expect_metric(UniformMetric::make(3, 7).value(), {0, 7, 7, 7, 0, 7, 7, 7, 0});
  expect_metric(MatrixMetric::make({0, 2, 3, 2, 0, 5, 3, 5, 0}, 3).value(), {0, 2, 3, 2, 0, 5, 3, 5, 0});
  EXPECT_EQ(LineMetric::make({kHuge, kHuge - 1}).value().distance(Point(0), Point(1)), 1);
  EXPECT_EQ(LineMetric::make({-kHuge, -kHuge + 4}).value().diameter(), 4);
}

TEST(Metrics, OnePointHasDiameterZero) {
  EXPECT_EQ(LineMetric::make({9}).value().diameter(), 0);
  EXPECT_EQ(UniformMetric::make(1, 9).value().diameter(), 0);
  EXPECT_EQ(TreeMetric::make({}).value().diameter(), 0);
  EXPECT_EQ(MatrixMetric::make({0}, 1).value().diameter(), 0);
}

void expect_refused(const Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(Metrics, MistakesAreNamed) {
  expect_refused(LineMetric::make({}).status(), "0 points");
  expect_refused(LineMetric::make({kHuge, -kHuge}).status(), "apart");
  expect_refused(LineMetric::make({0, kMaxDistance + 1}).status(), "apart");
  expect_refused(UniformMetric::make(0, 1).status(), "0 points");
  expect_refused(UniformMetric::make(-5, 1).status(), "0 points");
  expect_refused(UniformMetric::make(3, -1).status(), "-1");
  expect_refused(UniformMetric::make(std::int64_t{1} << 40, 1).status(), "points");
  expect_refused(MatrixMetric::make({}, 0).status(), "0 rows");
  expect_refused(MatrixMetric::make({0, 1, 1}, 2).status(), "3 entries");
  expect_refused(MatrixMetric::make({0, 1, 1, 2}, 2).status(), "distances[1][1]");
  expect_refused(MatrixMetric::make({0, 1, 2, 0}, 2).status(), "distances[0][1]");
  expect_refused(MatrixMetric::make({0, -1, -1, 0}, 2).status(), "-1");
  expect_refused(MatrixMetric::make({0, kHuge, kHuge, 0}, 2).status(), "distances[0][1]");
  const Status detour = MatrixMetric::make({0, 9, 1, 9, 0, 2, 1, 2, 0}, 3).status();
  expect_refused(detour, "distances[0][1]");
  expect_refused(detour, "at most 3, the way over point 2");
}

TEST(TreeMetric, MistakesAreNamed) {
  const auto refused = [](const std::vector<TreeEdge>& edges, const std::string& part) {
    expect_refused(TreeMetric::make(edges).status(), part);
  };
  refused({{Point(0), Point(5), 1}}, "edges[0]");
  refused({{Point(-1), Point(0), 1}}, "point -1");
  refused({{Point(0), Point(1), -1}}, "edges[0]");
  refused({{Point(0), Point(1), kMaxDistance + 1}}, "edges[0]");
  refused({{Point(0), Point(0), 1}}, "point 1 is not connected");
  refused({{Point(0), Point(1), 1}, {Point(1), Point(0), 1}}, "point 2 is not connected");
  refused({{Point(0), Point(1), kMaxDistance}, {Point(1), Point(2), 1}}, "a path of length");
  refused({{Point(0), Point(1), kMaxDistance}, {Point(0), Point(2), 1}}, "a path of length");
}

TEST(MatrixMetric, TheTriangleCheckFindsEachBrokenTriple) {
  // One entry of a metric lowered or raised by one: refused exactly when Floyd would change the table.
  Random random(3);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    const int n = static_cast<int>(test::between(random, 3, 9));
    const auto size = static_cast<std::size_t>(n);
    std::vector<Distance> table(size * size, 0);
    for (std::size_t a = 0; a < size; ++a) {
      for (std::size_t b = 0; b < a; ++b)
        table[a * size + b] = table[b * size + a] = test::between(random, 0, 9);
    }
    shortest_paths(table, n);
    const auto a = static_cast<std::size_t>(test::between(random, 1, n - 1));
    const auto b = static_cast<std::size_t>(test::between(random, 0, static_cast<int>(a) - 1));
    const Distance changed = std::max<Distance>(0, table[a * size + b] + (round % 2 == 0 ? 1 : -1));
    table[a * size + b] = table[b * size + a] = changed;
    std::vector<Distance> closed = table;
    shortest_paths(closed, n);
    const bool metric = closed == table;
    refused += metric ? 0 : 1;
    EXPECT_EQ(MatrixMetric::make(table, n).ok(), metric);
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 390);
}

}  // namespace
}  // namespace tessera::kserver
