/// What each stage's devices hold while the iteration runs, from the simulated timeline.
///
/// Static bytes all the time; one micro-batch's activations from the start of its forward to the end of its
/// backward; the workspace while computing. Where a release and an allocation coincide, the release comes
/// first. The peak of a stage is therefore static + workspace + k * activations with k the micro-batches in
/// flight, at most min(stages - stage, micro-batches).
#pragma once

#include <vector>

#include "planner/sim/iteration.h"

namespace tessera::planner::sim {

struct MemoryPoint {
  double time_s = 0;
  double bytes = 0;  // from time_s until the next point
};

struct MemoryCurve {
  std::vector<MemoryPoint> points;  // increasing time, the first at 0
  double peak_bytes = 0;
};

/// By group and stage; O(tasks log tasks) in all.
[[nodiscard]] std::vector<std::vector<MemoryCurve>> memory_curves(const Iteration& iteration,
                                                                  const Timeline& timeline);

}  // namespace tessera::planner::sim
