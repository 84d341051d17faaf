/// First in, first out, on a uniform metric: of the roles that do not stand on the request the one that moved
/// longest ago goes, round and round.
///
/// Fairness  costs differ by at most one move, always: the perfectly fair choice where all moves cost the
/// same. Cost      k-competitive (Sleator & Tarjan 1985); O(1) per request on average.
#pragma once

#include <unordered_map>

#include "algos/kserver/online.h"
#include "algos/kserver/uniform_metric.h"

namespace tessera::kserver {

class Fifo final : public OnPoints {
 public:
  Fifo(const UniformMetric& metric, std::vector<Point> starts);

 private:
  Role move_to(Point request) override;
  std::unordered_map<std::int32_t, Role> standing_;  // point -> one role there
  Role next_;                                        // the one to move
};

}  // namespace tessera::kserver
