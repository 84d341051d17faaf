/// Random grouping problems: mixed speeds and memories, embedding and head, recomputation, boundaries.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "planner/search/pipeline_problem.h"

namespace tessera::planner::testing {

struct ProblemLimits {
  int types = 2;
  int most_units = 6;  // in all
  int least_units = 1;
  int most_layers = 8;
  int most_micro_batches = 8;
  bool alike = true;
  bool boundaries = true;
};

inline PipelineProblem random_problem(std::mt19937_64& random, const ProblemLimits& limits) {
  const auto integer = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(random);
  };
  PipelineProblem problem;
  problem.units.assign(static_cast<std::size_t>(limits.types), 0);
  const int units = integer(std::max(limits.least_units, 1), limits.most_units);
  for (int i = 0; i < units; ++i) ++problem.units[static_cast<std::size_t>(integer(0, limits.types - 1))];
  problem.max_depth = integer(0, 3) == 0 ? integer(1, units) : units;
  problem.micro_batches = integer(1, limits.most_micro_batches);
  const int layers = integer(1, limits.most_layers);
  problem.stages = StageTable(limits.types, problem.max_depth, layers, limits.alike);
  std::vector<double> weight(static_cast<std::size_t>(layers), 1.0);
  if (!limits.alike) {
    for (double& w : weight) w = real(0.5, 2);
  }
  const double embedding = real(0, 0.3);
  const double head = real(0, 1.5);
  const bool tight = integer(0, 2) == 0;
  for (int type = 0; type < limits.types; ++type) {
    const double speed = integer(0, 4) == 0 ? 1.0 : real(0.2, 1.5);  // equal types now and then
    const double room = tight ? real(2, 12) : real(6, 60);
    const double state = real(0.3, 1);
    const double activation = real(0.05, 0.4);
    const double recompute_s = real(0.2, 0.5);
    for (int r = 1; r <= problem.max_depth; ++r) {
      const double in_flight = static_cast<double>(std::min<std::int64_t>(r, problem.micro_batches));
      for (int begin = 0; begin < layers; ++begin) {
        if (limits.alike && begin > 1) break;
        for (int end = begin + 1; end <= layers; ++end) {
          double work = 0;
          for (int layer = begin; layer < end; ++layer) work += weight[static_cast<std::size_t>(layer)];
          if (begin == 0) work += embedding;
          if (r == 1) work += head;
          const int count = end - begin;
          double seconds = work / speed;
          // Recompute as many layers as memory asks for; if that is not enough the stage does not exist.
          const double over = count * (state + in_flight * activation) - room;
          if (over > 0) {
            const double again = std::ceil(over / (in_flight * activation * 0.8));
            seconds = again > count ? kInfinite : seconds + again * recompute_s / speed;
          }
          problem.stages.set(type, r, begin, end, seconds);
        }
      }
    }
  }
  problem.round_trip_s.assign(problem.units.size(), std::vector<double>(problem.units.size(), 0));
  if (limits.boundaries && integer(0, 3) > 0) {
    for (auto& row : problem.round_trip_s) {
      for (double& seconds : row) seconds = real(0, 0.5);
    }
  }
  if (integer(0, 1) == 0) {
    // Less per stage the more stages there are, as what a stage reduces and gathers.
    const double floor = real(0, 30);
    const double tail = real(0, 10);
    problem.floor_s.push_back(0);
    problem.tail_s.push_back(0);
    for (int depth = 1; depth <= problem.max_depth; ++depth) {
      problem.floor_s.push_back(floor / depth);
      problem.tail_s.push_back(tail / depth);
    }
  }
  return problem;
}

}  // namespace tessera::planner::testing
