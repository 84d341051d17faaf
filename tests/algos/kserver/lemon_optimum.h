/// The peer: LEMON's network simplex on the flow network of offline k-server, as the literature writes it.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera::kserver::test {

struct LemonOptimum {
  std::int64_t cost = 0;
  double seconds = 0;  // of the simplex alone: neither the tables nor the graph
};

/// T x T, distances[t * T + u] between requests; k x T, starts[s * T + t] from server s to request t.
/// Source -> servers -> requests -> sink; request t is an arc in_t -> out_t of cost
/// -M, with M so large that each is used.
LemonOptimum lemon_optimum(int servers, int requests, const std::vector<std::int64_t>& starts,
                           const std::vector<std::int64_t>& distances);

}  // namespace tessera::kserver::test
