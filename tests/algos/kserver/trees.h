/// Trees with edges of length 1 on which Double Coverage is known to be fair or unfair.
#pragma once

#include "algos/kserver/tree_metric.h"

namespace tessera::kserver::test {

/// Nodes 0..n-1 in a row.
inline TreeMetric path(int n) {
  std::vector<TreeEdge> edges;
  for (int i = 1; i < n; ++i) edges.push_back({Point(i - 1), Point(i), 1});
  return TreeMetric::make(edges).value();
}

/// `arms` paths of `length` nodes at hub 0.
inline TreeMetric star(int arms, int length) {
  std::vector<TreeEdge> edges;
  int next = 1;
  for (int arm = 0; arm < arms; ++arm) {
    for (int i = 0; i < length; ++i, ++next) edges.push_back({Point(i == 0 ? 0 : next - 1), Point(next), 1});
  }
  return TreeMetric::make(edges).value();
}

/// Hubs 0 and L joined by nodes 1..L-1; `arms` arms of L + 1 nodes at hub 0, then as many at hub L. Nodes of
/// an arm are numbered outwards. L = 4, two arms: 5-9 and 10-14 at hub 0, 15-19 and 20-24 at hub 4.
inline TreeMetric dumbbell(int length, int arms) {
  std::vector<TreeEdge> edges;
  for (int i = 1; i <= length; ++i) edges.push_back({Point(i - 1), Point(i), 1});
  int next = length + 1;
  for (const int hub : {0, length}) {
    for (int arm = 0; arm < arms; ++arm) {
      for (int i = 0; i <= length; ++i, ++next)
        edges.push_back({Point(i == 0 ? hub : next - 1), Point(next), 1});
    }
  }
  return TreeMetric::make(edges).value();
}

}  // namespace tessera::kserver::test
