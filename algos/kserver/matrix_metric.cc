#include "algos/kserver/matrix_metric.h"

#include <algorithm>

#include "algos/base/require.h"

namespace tessera::kserver {
namespace {

std::string entry(std::int32_t a, std::int32_t b) {
  return "distances[" + std::to_string(a) + "][" + std::to_string(b) + "]";
}

/// Some b with d(a,b) + d(b,c) < d(a,c), when `broken` says that there is one.
std::int32_t shorter_by(const Distance* row_a, const Distance* row_c, Distance direct, std::int32_t n) {
  for (std::int32_t b = 0; b < n; ++b) {
    if (row_a[b] + row_c[b] < direct) return b;
  }
  return -1;
}

/// Branch-free, so that the compiler vectorises it.
bool broken(const Distance* row_a, const Distance* row_c, Distance direct, std::int32_t n) {
  unsigned shorter = 0;
  for (std::int32_t b = 0; b < n; ++b) shorter |= row_a[b] + row_c[b] < direct ? 1U : 0U;
  return shorter != 0;
}

}  // namespace

Result<MatrixMetric> MatrixMetric::make(std::vector<Distance> table, std::int32_t points,
                                        const std::string& source) {
  if (points <= 0 || points > kMaxMatrixPoints) {
    return bad_input({source, "distances", std::to_string(points) + " rows",
                      "1 to " + std::to_string(kMaxMatrixPoints) + " rows",
                      "for more points give a line or a tree"});
  }
  const auto n = static_cast<std::size_t>(points);
  if (table.size() != n * n) {
    return bad_input({source, "distances", std::to_string(table.size()) + " entries",
                      std::to_string(n * n) + " entries", "give one row of distances per point"});
  }
  Distance diameter = 0;
  for (std::int32_t a = 0; a < points; ++a) {
    for (std::int32_t b = 0; b < points; ++b) {
      const Distance d = table[static_cast<std::size_t>(a) * n + static_cast<std::size_t>(b)];
      const Distance back = table[static_cast<std::size_t>(b) * n + static_cast<std::size_t>(a)];
      if (d < 0 || d > kMaxDistance) return internal::bad_distance(std::to_string(d), entry(a, b), source);
      if (a == b && d != 0) {
        return bad_input({source, entry(a, b), std::to_string(d), "0 on the diagonal",
                          "a point is at distance 0 from itself"});
      }
      if (d != back) {
        return bad_input({source, entry(a, b), std::to_string(d),
                          std::to_string(back) + ", as in " + entry(b, a),
                          "make the table symmetric, for example with the mean of both directions"});
      }
      diameter = std::max(diameter, d);
    }
  }
  for (std::int32_t a = 0; a < points; ++a) {
    const Distance* row_a = table.data() + static_cast<std::size_t>(a) * n;
    for (std::int32_t c = a + 1; c < points; ++c) {
      const Distance* row_c = table.data() + static_cast<std::size_t>(c) * n;
      if (!broken(row_a, row_c, row_a[c], points)) continue;
      const std::int32_t b = shorter_by(row_a, row_c, row_a[c], points);
      return bad_input({source, entry(a, c), std::to_string(row_a[c]),
                        "at most " + std::to_string(row_a[b] + row_c[b]) + ", the way over point " +
                            std::to_string(b) + " (triangle inequality)",
                        "give shortest-path distances"});
    }
  }
  return MatrixMetric(std::move(table), points, diameter);
}

MatrixMetric::MatrixMetric(std::vector<Distance> table, std::int32_t points, Distance diameter)
    : Metric(points, diameter), table_(std::move(table)) {}

Distance MatrixMetric::distance(Point a, Point b) const {
  return table_[static_cast<std::size_t>(a.value) * static_cast<std::size_t>(points()) +
                static_cast<std::size_t>(b.value)];
}

std::span<const Distance> MatrixMetric::distances_from(Point from, std::span<Distance> /*scratch*/) const {
  const auto n = static_cast<std::size_t>(points());
  return std::span(table_).subspan(static_cast<std::size_t>(from.value) * n, n);
}

void shortest_paths(std::span<Distance> table, std::int32_t points) {
  const auto n = static_cast<std::size_t>(points);
  TS_REQUIRE(table.size() == n * n, table.size(), points);
  for (std::size_t via = 0; via < n; ++via) {
    for (std::size_t a = 0; a < n; ++a) {
      const Distance first = table[a * n + via];
      for (std::size_t b = 0; b < n; ++b) {
        table[a * n + b] = std::min(table[a * n + b], first + table[via * n + b]);
      }
    }
  }
}

}  // namespace tessera::kserver
