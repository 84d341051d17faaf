/// Every group worth having: for each composition (how many units of each type), its best orders and cuts.
///
/// Built from the last stage backwards, since a stage at distance r from the end holds min(r, m)
/// micro-batches whatever comes before it: one table serves all compositions. The state (composition, layers
/// covered) keeps the pairs (sum of seconds, slowest stage) that no other pair beats in both; the type of the
/// frontmost unit enters through the boundary to the next.
///
/// Pruned    below a threshold theta on the answer: a group that would leave the other units more
/// micro-batches
///           than their power can do in theta seconds is in no solution within theta, and neither is any
///           group that extends it.
/// Limits    65535 layers.
/// Source    AutoHet notes, 2.5, with the beta loop replaced by pairs. Complexity: states * types * layers *
/// pairs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "planner/search/pipeline_problem.h"

namespace tessera::planner {

/// Asked now and then; true ends the work early.
using Cancelled = std::function<bool()>;

class GroupTable {
 public:
  /// A composition that some order and cut serves. T(m) = min over lines of sum + (m - 1) * slowest.
  struct Line {
    double sum = 0;
    double slowest = 0;
    std::int32_t entry = -1;
  };
  struct Column {
    std::vector<int> units;   // of each type
    int depth = 0;            // their sum
    std::vector<Line> lines;  // the lower hull, slowest rising and sum falling
    /// The most micro-batches within theta seconds, at most `limit`; 0: not one.
    [[nodiscard]] std::int64_t micro_batches(double theta, std::int64_t limit) const;
    [[nodiscard]] double seconds(std::int64_t micro_batches) const;
    [[nodiscard]] const Line& line(std::int64_t micro_batches) const;
  };

  /// Complete for solutions of at most `theta` seconds; kInfinite prunes nothing.
  GroupTable(const PipelineProblem& problem, double theta, const Cancelled& cancelled = {});

  [[nodiscard]] const std::vector<Column>& columns() const { return columns_; }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] std::size_t entries() const { return pool_.size(); }
  [[nodiscard]] std::vector<StageChoice> stages(const Line& line) const;

 private:
  struct Entry {
    double sum = 0;
    double slowest = 0;
    std::int32_t after = -1;  // the entry of the rest of the pipeline
    std::uint16_t type = 0;
    std::uint16_t layers = 0;
  };
  struct Span {
    std::int32_t begin = 0;
    std::int32_t end = 0;
  };
  void insert(std::vector<Entry>& list, const Entry& entry, bool complete) const;

  int layers_ = 0;
  std::vector<std::vector<double>>
      dearer_;  // [a][b]: the most that a front of type a costs over one of type b
  std::vector<Entry> pool_;
  std::vector<Column> columns_;
  bool cancelled_ = false;
};

/// Compositions of 1 to `depth` units out of `units`, by rising size. Their number is capped by the caller's
/// choice of depth: see count_compositions.
[[nodiscard]] std::vector<std::vector<int>> compositions(const std::vector<int>& units, int depth);
/// How many there are; stops counting at `limit`.
[[nodiscard]] std::int64_t count_compositions(const std::vector<int>& units, int depth, std::int64_t limit);

}  // namespace tessera::planner
