/// Every group worth having: for each composition (how many units of each type), its best orders and cuts.
///
/// Built from the last stage backwards, since a stage at distance r from the end holds min(r, m)
/// micro-batches whatever comes before it: one table serves all compositions. For each candidate beta of the
/// slowest stage
///
///   V[c + e_k][k][l + n] = min over f of V[c][f][l] + q(k, f) + u(k, |c| + 1, n)      where u <= beta
///
/// is the least sum of a pipeline of composition c + e_k that begins with type k and covers the last l + n
/// layers.
///
/// Pruned    below a threshold theta on the answer: a group that would leave the other units more
/// micro-batches
///           than their power can do in theta seconds is in no solution within theta.
/// Source    AutoHet notes, 2.5. Complexity: betas * compositions * types * layers * (layers per stage).
/// Limits    65535 layers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "planner/search/pipeline_problem.h"

namespace tessera::planner {

/// Asked now and then; true ends the work early.
using Cancelled = std::function<bool()>;

class GroupTable {
 public:
  struct Line {
    double sum = 0;  // with floor and tail (pipeline_problem.h)
    double slowest = 0;
  };
  /// A composition that some order and cut serves. T(m) = min over lines of sum + (m - 1) * slowest.
  struct Column {
    std::vector<int> units;   // of each type
    int depth = 0;            // their sum
    std::vector<Line> lines;  // the lower hull, slowest rising and sum falling
    /// The most micro-batches within theta seconds, at most `limit`; 0: not one.
    [[nodiscard]] std::int64_t micro_batches(double theta, std::int64_t limit) const;
    [[nodiscard]] double seconds(std::int64_t micro_batches) const;
    [[nodiscard]] const Line& line(std::int64_t micro_batches) const;
  };

  /// Complete for solutions of at most `theta` seconds; kInfinite prunes nothing. `problem` must outlive
  /// this.
  GroupTable(const PipelineProblem& problem, double theta, const Cancelled& cancelled = {});

  [[nodiscard]] const std::vector<Column>& columns() const { return columns_; }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  /// Numbers held while it was built.
  [[nodiscard]] std::size_t states() const { return states_; }
  /// The order and cut behind a line of a column.
  [[nodiscard]] std::vector<StageChoice> stages(const Column& column, const Line& line) const;

 private:
  const PipelineProblem* problem_;
  std::vector<Column> columns_;
  std::size_t states_ = 0;
  bool cancelled_ = false;
};

/// A group of all of `problem`'s units for so many micro-batches: an order and a cut of few seconds. The
/// least possible slowest stage and some larger ones are tried, so the answer is close to the best, not
/// always it. Nullopt when no order and cut fit. O(tries * compositions below the units * types * layers *
/// layers per stage).
[[nodiscard]] std::optional<GroupChoice> group_of_all_units(const PipelineProblem& problem,
                                                            std::int64_t micro_batches);

/// Compositions of 1 to `depth` units out of `units`, by rising size.
[[nodiscard]] std::vector<std::vector<int>> compositions(const std::vector<int>& units, int depth);
/// How many there are; stops counting at `limit`.
[[nodiscard]] std::int64_t count_compositions(const std::vector<int>& units, int depth, std::int64_t limit);

}  // namespace tessera::planner
