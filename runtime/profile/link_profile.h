/// Messages between two ranks and collectives of groups, timed as training sends them.
///
/// Messages     pairs at distance 1, 2, 4, ... send a message there and back, all pairs at the same time; a
///              point is the median over pairs and rounds of half a round trip. Pairs inside a host make the
///              intra-node curve, others the inter-node curve.
/// Collectives  groups of 2, 4, 8, ... and of all consecutive ranks, all groups at the same time.
/// Ranks left over wait; with busy waits (communicator.h) all ranks keep their cores busy throughout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "planner/spec/profile.h"
#include "runtime/comm/communicator.h"
#include "runtime/profile/samples.h"

namespace tessera::runtime {

struct LinkQuestion {
  std::vector<std::int64_t> bytes = {4 << 10, 32 << 10, 128 << 10, 512 << 10, 2 << 20};
  int rounds = 5;
  double round_s = 0.05;           // of messages, at least
  std::vector<std::string> hosts;  // an entry per rank
};

struct MachineLinks {
  planner::LinkProfile links;                           // a curve without pairs is empty
  std::vector<planner::CollectiveProfile> collectives;  // device not filled in
  std::vector<Measurement> measurements;
};

/// Collective; the same result on every rank; nothing with one rank. Requires rising sizes, multiples of 4.
[[nodiscard]] MachineLinks profile_links(Communicator& world, const LinkQuestion& question,
                                         const Clock& clock);

}  // namespace tessera::runtime
