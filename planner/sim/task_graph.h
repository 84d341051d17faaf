/// TaskGraph: tasks with fixed precedence, replayed exactly in continuous time.
///
/// A task starts when all its predecessors have ended and lasts `seconds` when nothing slows it. A task may
/// load NICs: task i asks for demand_in bytes/s of NIC n while it runs. Where the demands on a NIC exceed its
/// capacity, all who load it are slowed in the same proportion; a task runs at the speed of its slowest NIC:
///
///   speed_i(t) = min(1, min_n capacity_n / sum of demand_kn over the tasks k running at t)
///
/// so no NIC ever carries more than its capacity. Between two events all speeds are constant, hence start and
/// end times are exact up to rounding.
///
/// Worked example: two transfers of 2 s, each asking for the whole of one NIC, start at 0 and 1. The first
/// runs alone until 1, both at half speed until the first ends at 3, and the second ends at 4.
///
/// Complexity  O((tasks + edges) log tasks) without contention; each start or end of a task that loads a
///             NIC costs one pass over the tasks running on that NIC.
#pragma once

#include <span>
#include <vector>

namespace tessera::planner::sim {

struct Demand {
  int nic = 0;
  double bytes_per_s = 0;  // while running unslowed
};

/// When each task ran, by task number, in seconds.
struct TaskTimes {
  std::vector<double> start_s;
  std::vector<double> end_s;
};

class TaskGraph {
 public:
  /// Capacities by NIC number; each > 0.
  explicit TaskGraph(std::span<const double> nic_bytes_per_s);

  /// Returns the task's number, counted from 0. seconds >= 0 and finite.
  int add_task(double seconds, std::span<const Demand> demands = {});
  void add_edge(int before, int after);

  /// Requires an acyclic graph.
  [[nodiscard]] TaskTimes replay() const;

  [[nodiscard]] int size() const { return static_cast<int>(seconds_.size()); }

 private:
  std::vector<double> nic_bytes_per_s_;
  std::vector<double> seconds_;
  std::vector<std::vector<Demand>> demands_;
  std::vector<std::vector<int>> successors_;
  std::vector<int> predecessors_;  // how many
};

}  // namespace tessera::planner::sim
