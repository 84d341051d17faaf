#include "tests/algos/kserver/lemon_optimum.h"

#include <algorithm>
#include <chrono>
#include <lemon/maps.h>
#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

namespace tessera::kserver::test {

LemonOptimum lemon_optimum(int servers, int requests, const std::vector<std::int64_t>& starts,
                           const std::vector<std::int64_t>& distances) {
  using Graph = lemon::SmartDigraph;
  using Simplex = lemon::NetworkSimplex<Graph, std::int64_t, std::int64_t>;
  const auto at = [requests](int row, int column) {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(requests) +
           static_cast<std::size_t>(column);
  };
  std::int64_t longest = 0;
  for (const std::int64_t d : starts) longest = std::max(longest, d);
  for (const std::int64_t d : distances) longest = std::max(longest, d);
  const std::int64_t reward = longest * (requests + 1) + 1;

  Graph graph;
  graph.reserveNode(servers + 2 * requests + 2);
  const Graph::Node source = graph.addNode();
  const Graph::Node sink = graph.addNode();
  std::vector<Graph::Node> server, in, out;
  for (int s = 0; s < servers; ++s) server.push_back(graph.addNode());
  for (int t = 0; t < requests; ++t) {
    in.push_back(graph.addNode());
    out.push_back(graph.addNode());
  }
  Graph::ArcMap<std::int64_t> cost(graph);
  const auto join = [&](Graph::Node from, Graph::Node to, std::int64_t price) {
    cost[graph.addArc(from, to)] = price;
  };
  for (int s = 0; s < servers; ++s) {
    join(source, server[static_cast<std::size_t>(s)], 0);
    join(server[static_cast<std::size_t>(s)], sink, 0);
    for (int t = 0; t < requests; ++t) {
      join(server[static_cast<std::size_t>(s)], in[static_cast<std::size_t>(t)], starts[at(s, t)]);
    }
  }
  for (int t = 0; t < requests; ++t) {
    join(in[static_cast<std::size_t>(t)], out[static_cast<std::size_t>(t)], -reward);
    join(out[static_cast<std::size_t>(t)], sink, 0);
    for (int u = t + 1; u < requests; ++u) {
      join(out[static_cast<std::size_t>(t)], in[static_cast<std::size_t>(u)], distances[at(t, u)]);
    }
  }
  const lemon::ConstMap<Graph::Arc, std::int64_t> one(1);
  Simplex simplex(graph);
  simplex.upperMap(one).costMap(cost).stSupply(source, sink, servers);
  const auto start = std::chrono::steady_clock::now();
  simplex.run();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return {simplex.totalCost<std::int64_t>() + reward * requests, time.count()};
}

}  // namespace tessera::kserver::test
