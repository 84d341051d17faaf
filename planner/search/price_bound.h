/// A lower bound for groups of any depth and any number of them, by prices of units; no list of compositions.
///
/// For a threshold theta, a pipeline p of P stages can do at most
///
///   v(p) = 1 + (theta - tail_P - sum_p) / slowest_p                      (sum: stages and boundaries)
///
/// micro-batches. Let every unit of type k have a price pi_k >= 0 and every group a toll mu >= 0 such that no
/// pipeline is worth more than it costs:  v(p) <= sum_s pi_type(s) + mu. Then the groups of any solution
/// within theta do, together,
///
///   m <= sum_j v_j <= sum_k pi_k units_k + mu * groups
///
/// so theta is refuted when the right side, for the most groups there may be, is below m. The prices are
/// those of the linear relaxation of the packing over pipelines found so far; the pipeline that breaks them
/// most is found by dynamic programming over stages from the end, for each value that the slowest stage may
/// have (close values share one program, with the larger as limit and the smaller as divisor, so v is never
/// too small). The toll is raised by what is still broken, so a bound is valid whenever the rounds stop.
///
/// Source    column generation: Gilmore & Gomory 1961; AutoHet notes, 2.3, 2.6.
/// Complexity, per round: slowest values * depth * layers * types * (layers per stage + types), and
/// depth * layers * types numbers.
#pragma once

#include "planner/search/group_table.h"
#include "planner/search/pipeline_problem.h"

namespace tessera::planner {

struct PriceBoundOptions {
  int most_groups = 1;
  /// A bound this high is enough; must be finite.
  double enough_s = 0;
  double tolerance = 5e-3;  // relative, of the threshold
  int rounds = 120;         // of pricing, per threshold
};

/// At least work_bound(problem), at most max(that, enough_s). Infinite when no type fits a layer.
[[nodiscard]] double price_bound(const PipelineProblem& problem, const PriceBoundOptions& options,
                                 const Cancelled& cancelled = {});

}  // namespace tessera::planner
