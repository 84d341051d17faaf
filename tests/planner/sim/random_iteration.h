/// Random small iterations: uneven groups, stages, transfers, segments; optionally shared NICs.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "planner/sim/iteration.h"

namespace tessera::planner::sim {

struct Shape {
  int max_groups = 3;
  int max_stages = 5;
  int max_micro_batches = 8;
  int max_segments = 5;
  int nics = 0;
  double loaded = 0;  // share of the transfers that load two NICs
};

inline Iteration random_iteration(std::mt19937& random, const Shape& shape) {
  const auto integer = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  const auto real = [&](double low, double high) {
    return std::uniform_real_distribution(low, high)(random);
  };
  Iteration iteration;
  for (int n = 0; n < shape.nics; ++n) iteration.nic_bytes_per_s.push_back(real(1, 2));
  const auto transfer = [&](double longest) {
    Transfer out{real(0, longest), {}};
    if (shape.nics >= 2 && real(0, 1) < shape.loaded) {
      const int first = integer(0, shape.nics - 1);
      out.demands = {{first, real(0.5, 1)}, {(first + 1) % shape.nics, real(0.5, 1)}};
    }
    return out;
  };
  const int groups = integer(1, shape.max_groups);
  for (int g = 0; g < groups; ++g) {
    Group& group = iteration.groups.emplace_back();
    group.micro_batches = integer(1, shape.max_micro_batches);
    const int stages = integer(1, shape.max_stages);
    for (int s = 0; s < stages; ++s) {
      Stage stage{"", real(0.2, 2), real(0.4, 4), real(0, 1), transfer(0.5), transfer(0.5), 0, 0, 0};
      stage.static_bytes = real(1, 9);
      stage.activation_bytes = real(0.1, 1);
      stage.workspace_bytes = real(0, 2);
      group.stages.push_back(stage);
    }
  }
  const int segments = integer(0, shape.max_segments);
  for (int n = 0; n < segments; ++n) {
    Segment segment{"s" + std::to_string(n), transfer(2), transfer(integer(0, 1)), {}};
    for (int g = 0; g < groups; ++g) {
      const int stages = static_cast<int>(iteration.groups[g].stages.size());
      segment.owners.push_back({g, integer(0, stages - 1), integer(0, 1) == 0 ? 1 : real(0, 1)});
    }
    iteration.segments.push_back(segment);
  }
  iteration.blocking_sends = integer(0, 3) == 0;
  iteration.norm_barrier = integer(0, 1) == 1;
  return iteration;
}

/// The task of that kind, or nullptr.
inline const Task* find_task(const Timeline& timeline, TaskKind kind, int group, int stage, int index) {
  const auto at = std::find_if(timeline.tasks.begin(), timeline.tasks.end(), [&](const Task& task) {
    return task.kind == kind && task.group == group && task.stage == stage && task.index == index;
  });
  return at == timeline.tasks.end() ? nullptr : &*at;
}

}  // namespace tessera::planner::sim
