#include "planner/search/pipeline_problem.h"

#include <algorithm>

namespace tessera::planner {

StageTable::StageTable(int types, int depth, int layers, bool alike)
    : depth_(depth), layers_(layers), alike_(alike) {
  const auto rows = static_cast<std::size_t>(types) * static_cast<std::size_t>(depth);
  const auto width = static_cast<std::size_t>(layers + 1);
  seconds_.assign(rows * width * (alike ? 2 : width), kInfinite);
}

std::vector<double> least_layer_seconds(const PipelineProblem& problem) {
  const StageTable& stages = problem.stages;
  std::vector<double> least(problem.units.size(), kInfinite);
  for (int type = 0; type < problem.types(); ++type) {
    double& best = least[static_cast<std::size_t>(type)];
    for (int r = 1; r <= problem.max_depth; ++r) {
      for (int begin = 0; begin < stages.layers(); ++begin) {
        if (stages.alike() && begin > 1) break;
        for (int end = begin + 1; end <= stages.layers(); ++end) {
          best = std::min(best, stages.seconds(type, r, begin, end) / (end - begin));
        }
      }
    }
  }
  return least;
}

double least_slowest_stage(const PipelineProblem& problem) {
  const StageTable& stages = problem.stages;
  const int layers = stages.layers();
  // By type and layers, wherever the stage is; no less for more layers.
  std::vector<std::vector<double>> least(problem.units.size());
  std::vector<double> candidates;
  for (std::size_t type = 0; type < least.size(); ++type) {
    if (problem.units[type] == 0) continue;
    least[type].assign(static_cast<std::size_t>(layers) + 1, kInfinite);
    for (int r = 1; r <= problem.max_depth; ++r) {
      for (int begin = 0; begin < layers; ++begin) {
        if (stages.alike() && begin > 1) break;
        for (int end = begin + 1; end <= layers; ++end) {
          double& best = least[type][static_cast<std::size_t>(end - begin)];
          best = std::min(best, stages.seconds(static_cast<int>(type), r, begin, end));
        }
      }
    }
    for (int count = layers; count > 1; --count) {
      double& fewer = least[type][static_cast<std::size_t>(count) - 1];
      fewer = std::min(fewer, least[type][static_cast<std::size_t>(count)]);
    }
    candidates.insert(candidates.end(), least[type].begin() + 1, least[type].end());
  }
  std::sort(candidates.begin(), candidates.end());
  const auto enough = [&](double slowest) {
    std::int64_t held = 0;
    for (std::size_t type = 0; type < least.size(); ++type) {
      if (problem.units[type] == 0) continue;
      const auto above = std::upper_bound(least[type].begin() + 1, least[type].end(), slowest);
      held += std::int64_t{problem.units[type]} * (above - least[type].begin() - 1);
    }
    return held >= layers;
  };
  const auto at = std::partition_point(candidates.begin(), candidates.end(),
                                       [&](double slowest) { return !enough(slowest); });
  return at == candidates.end() ? kInfinite : *at;
}

double work_bound(const PipelineProblem& problem) {
  const std::vector<double> least = least_layer_seconds(problem);
  double power = 0;
  for (int type = 0; type < problem.types(); ++type) {
    const double seconds = least[static_cast<std::size_t>(type)];
    if (seconds < kInfinite) power += problem.units[static_cast<std::size_t>(type)] / seconds;
  }
  if (power == 0) return kInfinite;
  return static_cast<double>(problem.micro_batches) * problem.stages.layers() / power;
}

double group_seconds(const PipelineProblem& problem, const GroupChoice& group) {
  double sum = 0;
  double most = 0;
  const int depth = static_cast<int>(group.stages.size());
  for (int s = 0; s < depth; ++s) {
    const StageChoice& stage = group.stages[static_cast<std::size_t>(s)];
    const double seconds =
        problem.stages.seconds(stage.type, depth - s, stage.first_layer, stage.first_layer + stage.layers);
    sum += seconds;
    most = std::max(most, seconds);
    if (s + 1 < depth) {
      const StageChoice& next = group.stages[static_cast<std::size_t>(s) + 1];
      sum += problem.round_trip_s[static_cast<std::size_t>(stage.type)][static_cast<std::size_t>(next.type)];
    }
  }
  return std::max(sum, problem.floor_of(depth)) + static_cast<double>(group.micro_batches - 1) * most +
         problem.tail_of(depth);
}

}  // namespace tessera::planner
