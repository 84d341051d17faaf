/// The grouping problem with everything but numbers taken away: units of a few types, layers to cut, a
/// stage's seconds, a boundary's seconds, micro-batches to share out. What the exact search solves, and what
/// brute force and the MILP solve in the tests.
///
///   choose    groups of units, in each group an order of its units and a cut of layers 0 .. L-1 into as many
///             contiguous, non-empty ranges, and micro-batches m_j >= 1 with sum m; units may stay idle
///   minimise  max_j  max(sum_s u_s + sum_s q_s, floor_P) + (m_j - 1) max_s u_s + tail_P
///
/// the bottleneck form of AutoHet notes, 2.3, with what any group of P stages must do around its pipeline:
/// tail_P seconds after it (update, gather), and floor_P seconds that its first micro-batch and its reduction
/// take together at least.
///
/// A stage at distance r from the end (r = 1: the last) must have room for min(r, m) micro-batches in flight,
/// whatever m_j: its seconds are infinite where it has not.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace tessera::planner {

inline constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Seconds (forward + backward of one micro-batch) of each possible stage.
class StageTable {
 public:
  StageTable() = default;
  /// `alike`: interior layers cost the same, so that only the count of layers and the edges matter.
  StageTable(int types, int depth, int layers, bool alike);

  [[nodiscard]] int layers() const { return layers_; }
  [[nodiscard]] int depth() const { return depth_; }
  [[nodiscard]] bool alike() const { return alike_; }
  /// Layers [begin, end) on `type` at distance r in 1 .. depth from the end. The stage holds the embedding if
  /// begin == 0, the head if r == 1.
  [[nodiscard]] double seconds(int type, int r, int begin, int end) const {
    return seconds_[index(type, r, begin, end)];
  }
  void set(int type, int r, int begin, int end, double seconds) {
    seconds_[index(type, r, begin, end)] = seconds;
  }

 private:
  [[nodiscard]] std::size_t index(int type, int r, int begin, int end) const {
    const auto row = static_cast<std::size_t>((type * depth_ + r - 1));
    const auto width = static_cast<std::size_t>(layers_ + 1);
    if (alike_) return (row * 2 + (begin == 0 ? 1 : 0)) * width + static_cast<std::size_t>(end - begin);
    return (row * width + static_cast<std::size_t>(begin)) * width + static_cast<std::size_t>(end);
  }
  int depth_ = 0;
  int layers_ = 0;
  bool alike_ = true;
  std::vector<double> seconds_;
};

struct PipelineProblem {
  std::vector<int> units;                         // of each type; at least one in all
  int max_depth = 0;                              // stages of a group, at most
  std::int64_t micro_batches = 1;                 // m
  StageTable stages;                              // depth >= max_depth
  std::vector<std::vector<double>> round_trip_s;  // across a boundary, [type before][type after]; >= 0
  std::vector<double> floor_s;                    // by depth, from 0; empty: none
  std::vector<double> tail_s;                     // by depth, from 0; empty: none
  [[nodiscard]] int types() const { return static_cast<int>(units.size()); }
  [[nodiscard]] double floor_of(int stages) const {
    return floor_s.empty() ? 0 : floor_s[static_cast<std::size_t>(stages)];
  }
  [[nodiscard]] double tail_of(int stages) const {
    return tail_s.empty() ? 0 : tail_s[static_cast<std::size_t>(stages)];
  }
};

/// The least seconds per layer that type k reaches in any stage; infinite if it fits none.
[[nodiscard]] std::vector<double> least_layer_seconds(const PipelineProblem& problem);

/// The least seconds of the slowest stage of a group that has all units: together they must hold all layers.
/// Infinite when they cannot.
[[nodiscard]] double least_slowest_stage(const PipelineProblem& problem);

/// No solution is faster: each unit of type k finishes at most T / t_k layers of T seconds, and m L are due.
/// Infinite when no type fits a layer.
[[nodiscard]] double work_bound(const PipelineProblem& problem);

/// One stage of a solved group.
struct StageChoice {
  int type = 0;
  int first_layer = 0;
  int layers = 0;
  bool operator==(const StageChoice&) const = default;
};

struct GroupChoice {
  std::vector<StageChoice> stages;
  std::int64_t micro_batches = 0;
};

/// Seconds of a group by the form above, from its definition.
[[nodiscard]] double group_seconds(const PipelineProblem& problem, const GroupChoice& group);

}  // namespace tessera::planner
