/// Groups and micro-batches by threshold search on the answer theta (AutoHet notes, 2.6, 2.7).
///
///   a column c (group_table.h) can do m_c(theta) micro-batches within theta seconds, so theta is enough iff
///   the units can be packed into columns with sum m_c(theta) >= m. Equal mode: into D columns that each do m
///   / D, for some D that divides m.
///
/// The certificate: `lower_bound` is a threshold at which the packing's upper bound stays below m. Exact
/// where the packer is (packing.h); then lower_bound and seconds agree to 1e-9, and no solution of the
/// problem within max_depth is faster. Tables are built for thresholds that rise until one suffices, which
/// keeps them small.
#pragma once

#include <cstdint>
#include <optional>

#include "planner/search/group_table.h"
#include "planner/search/packing.h"
#include "planner/search/pipeline_problem.h"

namespace tessera::planner {

enum class MicroBatchMode : std::uint8_t {
  kUnequal,  // a group takes what it can do
  kEqual,    // every group takes the same
};

struct GroupingOptions {
  MicroBatchMode mode = MicroBatchMode::kUnequal;
  PackCount count = {};          // of groups
  double give_up_s = kInfinite;  // solutions that take longer are of no interest
  /// Stages that a group has at least: none, or more than one to trade bubbles for smaller shards.
  int least_depth = 1;
};

struct Grouping {
  std::vector<GroupChoice> groups;  // empty: none found
  double seconds = kInfinite;       // the slowest group's
  double lower_bound = 0;           // infinite: there is no solution, whatever the time
  bool exact = true;                // the packer was
  bool cancelled = false;
  std::int64_t thresholds = 0;   // packings solved
  std::size_t table_states = 0;  // numbers in the largest table
};

[[nodiscard]] Grouping solve_grouping(const PipelineProblem& problem, const GroupingOptions& options = {},
                                      const Cancelled& cancelled = {});

}  // namespace tessera::planner
