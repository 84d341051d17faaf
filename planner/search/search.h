/// The best plan for a model on a cluster, with a certificate (AutoHet notes, 2.10).
///
/// Space      one tensor-parallel degree and one context mesh for the job, one micro-batch size, units of
/// equal
///            devices, any grouping, order, cut, allocation and recomputation; groups of at most `max_depth`
///            stages; every stage has room for min(P - s, m) micro-batches in flight.
/// Objective  estimate(): pipelines with round trips, exposed reduction, update and gather.
/// Bound      each candidate (degree, mesh, micro-batch size) is bounded from below by its grouping with the
///            least update, gather and reduction that groups of a depth can have (pipeline_problem.h):
///            exactly where all compositions can be listed (grouping.h), for groups of any depth by prices of
///            units (price_bound.h), one range of group counts after another. estimate() only adds to that
///            form. The bound of the whole is the least of those, so lower_bound_s <= iteration_s of every
///            plan in the space.
/// Search     plans of groups alike first, then candidates by rising bounds until none can beat the best.
/// Oracles    brute force and CBC, tests/planner/search.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/cost/cost.h"
#include "planner/plan/plan.h"
#include "planner/search/grouping.h"

namespace tessera::planner {

struct SearchProgress {
  int candidates = 0;  // in all
  int done = 0;
  double best_s = 0;         // 0: no plan yet
  double lower_bound_s = 0;  // so far
  std::int64_t evaluated = 0;
};

struct SearchOptions {
  MicroBatchMode mode = MicroBatchMode::kUnequal;
  // Empty: what suits the cluster, the model and the batch.
  std::vector<int> tensor_parallel = {};  // empty: powers of two up to the largest node
  std::vector<MeshShape> contexts = {};   // empty: 1x1; from 16384 tokens on, flat meshes up to 8 ranks
  std::vector<std::int64_t> micro_batches = {};  // sequences; empty: powers of two that divide the batch
  std::vector<Recompute> recompute = {Recompute::kNone, Recompute::kSelective};
  int max_depth = 0;                       // stages of a group; 0: as many as the table affords
  std::int64_t mapping_evaluations = 400;  // estimates per candidate for choosing devices
  std::function<void(const SearchProgress&)> progress = {};
  Cancelled cancelled = {};
};

/// What one (degree, mesh, micro-batch size) came to.
struct CandidateReport {
  StageShape shape;
  double lower_bound_s = 0;    // infinite: nothing fits
  double pipeline_s = 0;       // of its best grouping, the form the bound is of; 0: not solved
  double iteration_s = 0;      // of its best plan
  double seconds_bound_s = 0;  // work bound, known before the grouping is solved
  int max_depth = 0;
  bool exact = false;
};

struct SearchResult {
  Plan plan;               // passes check_plan; its expectations are filled in
  bool cancelled = false;  // the bound then covers what was not looked at
  std::vector<CandidateReport> candidates;
};

/// Errors    kFailedPrecondition: no plan fits; the message names the layer that does not, what it needs and
/// what
///           the largest device has. kInvalidArgument: an option that suits nothing.
[[nodiscard]] Result<SearchResult> search_plan(const CostModel& cost, const SearchOptions& options = {});

}  // namespace tessera::planner
