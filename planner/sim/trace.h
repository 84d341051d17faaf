/// A simulated iteration as a Chrome trace (chrome://tracing, ui.perfetto.dev).
#pragma once

#include <string>

#include "planner/sim/iteration.h"

namespace tessera::planner::sim {

/// One process per group, one track per stage for computation and one each for what it sends forward, sends
/// back and reduces; a memory counter per stage in MB. Times in microseconds. A collective appears on the
/// track of each owner.
[[nodiscard]] std::string chrome_trace(const Iteration& iteration, const Timeline& timeline);

}  // namespace tessera::planner::sim
