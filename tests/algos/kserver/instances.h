/// Random metrics and requests, reproducible from a seed.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "algos/kserver/line_metric.h"
#include "algos/kserver/matrix_metric.h"
#include "algos/kserver/schedule.h"
#include "algos/kserver/tree_metric.h"
#include "algos/kserver/uniform_metric.h"

namespace tessera::kserver::test {

using Random = std::mt19937_64;

inline std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

inline std::vector<Point> points(const std::vector<int>& numbers) {
  std::vector<Point> out;
  for (const int p : numbers) out.emplace_back(p);
  return out;
}

inline LineMetric random_line(Random& random, int n, Distance width = 100) {
  std::vector<Distance> positions;
  for (int i = 0; i < n; ++i) positions.push_back(between(random, -width / 2, width / 2));
  return LineMetric::make(positions).value();
}

/// Lengths 0..longest; parents among the `recent` nodes before (1: a path).
inline TreeMetric random_tree(Random& random, int n, Distance longest = 20, int recent = 1 << 30) {
  std::vector<int> names(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) names[static_cast<std::size_t>(i)] = i;
  std::shuffle(names.begin(), names.end(), random);
  std::vector<TreeEdge> edges;
  for (int i = 1; i < n; ++i) {
    const auto parent = static_cast<std::size_t>(between(random, std::max(0, i - recent), i - 1));
    edges.push_back(
        {Point(names[parent]), Point(names[static_cast<std::size_t>(i)]), between(random, 0, longest)});
  }
  std::shuffle(edges.begin(), edges.end(), random);
  return TreeMetric::make(edges).value();
}

inline MatrixMetric random_matrix(Random& random, int n, Distance longest = 60) {
  const auto size = static_cast<std::size_t>(n);
  std::vector<Distance> table(size * size, 0);
  for (std::size_t a = 0; a < size; ++a) {
    for (std::size_t b = 0; b < a; ++b)
      table[a * size + b] = table[b * size + a] = between(random, 0, longest);
  }
  shortest_paths(table, n);
  return MatrixMetric::make(std::move(table), n).value();
}

/// kind 0..3: line, tree, uniform, matrix.
inline std::unique_ptr<Metric> random_metric(Random& random, int kind, int n) {
  switch (kind) {
    case 0: return std::make_unique<LineMetric>(random_line(random, n));
    case 1: return std::make_unique<TreeMetric>(random_tree(random, n));
    case 2: return std::make_unique<UniformMetric>(UniformMetric::make(n, between(random, 1, 9)).value());
    default: return std::make_unique<MatrixMetric>(random_matrix(random, n));
  }
}

inline Instance random_instance(Random& random, const Metric& metric, int k, int requests) {
  Instance instance;
  for (int i = 0; i < k; ++i) {
    instance.servers.emplace_back(static_cast<std::int32_t>(between(random, 0, metric.points() - 1)));
  }
  for (int t = 0; t < requests; ++t) {
    instance.requests.emplace_back(static_cast<std::int32_t>(between(random, 0, metric.points() - 1)));
  }
  return instance;
}

}  // namespace tessera::kserver::test
