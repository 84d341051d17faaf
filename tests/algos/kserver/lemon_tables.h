/// An instance as the tables that lemon_optimum takes; a header of its own because LEMON needs C++17.
#pragma once

#include <vector>

#include "algos/kserver/schedule.h"
#include "tests/algos/kserver/lemon_optimum.h"

namespace tessera::kserver::test {

struct LemonTables {
  LemonTables(const Metric& metric, const Instance& instance)
      : servers(static_cast<int>(instance.servers.size())),
        requests(static_cast<int>(instance.requests.size())) {
    for (const Point from : instance.servers) {
      for (const Point to : instance.requests) starts.push_back(metric.distance(from, to));
    }
    for (const Point from : instance.requests) {
      for (const Point to : instance.requests) distances.push_back(metric.distance(from, to));
    }
  }
  [[nodiscard]] LemonOptimum solve() const { return lemon_optimum(servers, requests, starts, distances); }

  int servers;
  int requests;
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> distances;
};

}  // namespace tessera::kserver::test
