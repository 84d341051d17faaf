#include "planner/sim/task_graph.h"

#include <algorithm>
#include <cmath>
#include <queue>

#include "algos/base/require.h"

namespace tessera::planner::sim {
namespace {

/// A task's completion as foreseen at its last change of speed; stale when the version has moved on.
struct Completion {
  double time_s;
  int task;
  int version;
  bool operator>(const Completion& other) const {
    return time_s != other.time_s ? time_s > other.time_s : task > other.task;
  }
};

struct Running {
  double left_s = 0;  // unslowed seconds that remain, as of `since_s`
  double since_s = 0;
  double speed = 1;
  int version = 0;
};

}  // namespace

TaskGraph::TaskGraph(std::span<const double> nic_bytes_per_s)
    : nic_bytes_per_s_(nic_bytes_per_s.begin(), nic_bytes_per_s.end()) {
  for (const double capacity : nic_bytes_per_s_) TS_REQUIRE(capacity > 0, capacity);
}

int TaskGraph::add_task(double seconds, std::span<const Demand> demands) {
  TS_REQUIRE(seconds >= 0 && std::isfinite(seconds), seconds);
  for (const Demand& demand : demands) {
    TS_REQUIRE(demand.nic >= 0 && demand.nic < static_cast<int>(nic_bytes_per_s_.size()), demand.nic);
    TS_REQUIRE(demand.bytes_per_s >= 0, demand.bytes_per_s);
  }
  seconds_.push_back(seconds);
  std::vector<Demand>& merged = demands_.emplace_back();  // one entry per NIC
  for (const Demand& demand : demands) {
    const auto same = std::ranges::find(merged, demand.nic, &Demand::nic);
    if (same == merged.end()) {
      merged.push_back(demand);
    } else {
      same->bytes_per_s += demand.bytes_per_s;
    }
  }
  successors_.emplace_back();
  predecessors_.push_back(0);
  return size() - 1;
}

void TaskGraph::add_edge(int before, int after) {
  TS_REQUIRE(before >= 0 && before < size() && after >= 0 && after < size(), before, after);
  successors_[before].push_back(after);
  ++predecessors_[after];
}

TaskTimes TaskGraph::replay() const {
  TaskTimes times{std::vector<double>(size()), std::vector<double>(size())};
  std::vector<int> waits = predecessors_;
  std::vector<Running> running(size());
  std::vector<std::vector<int>> on_nic(nic_bytes_per_s_.size());
  std::priority_queue<Completion, std::vector<Completion>, std::greater<>> completions;

  const auto foresee = [&](int task) {
    const Running& r = running[task];
    completions.push({r.since_s + r.left_s / r.speed, task, r.version});
  };
  const auto load = [&](int nic) {
    double sum = 0;
    for (const int task : on_nic[nic]) {
      for (const Demand& demand : demands_[task]) sum += demand.nic == nic ? demand.bytes_per_s : 0;
    }
    return sum;
  };
  std::vector<double> loads(nic_bytes_per_s_.size());
  const auto speed_of = [&](int task) {
    double speed = 1;
    for (const Demand& demand : demands_[task]) {
      speed = std::min(speed, nic_bytes_per_s_[demand.nic] / loads[demand.nic]);
    }
    return speed;
  };
  // The tasks of `changed`'s NICs have gained or lost a companion at `now`.
  const auto reconsider = [&](int changed, double now) {
    for (const Demand& demand : demands_[changed]) loads[demand.nic] = load(demand.nic);
    for (const Demand& demand : demands_[changed]) {
      for (const int task : on_nic[demand.nic]) {
        Running& r = running[task];
        const double speed = speed_of(task);
        if (speed == r.speed) continue;
        r.left_s = std::max(0.0, r.left_s - (now - r.since_s) * r.speed);
        r.since_s = now;
        r.speed = speed;
        ++r.version;
        foresee(task);
      }
    }
  };
  const auto start = [&](int task, double now) {
    times.start_s[task] = now;
    running[task] = {seconds_[task], now, 1, 0};
    foresee(task);
    if (demands_[task].empty()) return;
    for (const Demand& demand : demands_[task]) on_nic[demand.nic].push_back(task);
    reconsider(task, now);
  };

  for (int task = 0; task < size(); ++task) {
    if (waits[task] == 0) start(task, 0);
  }
  int ended = 0;
  while (!completions.empty()) {
    const Completion next = completions.top();
    completions.pop();
    if (next.version != running[next.task].version) continue;
    times.end_s[next.task] = next.time_s;
    ++ended;
    ++running[next.task].version;
    if (!demands_[next.task].empty()) {
      for (const Demand& demand : demands_[next.task]) std::erase(on_nic[demand.nic], next.task);
      reconsider(next.task, next.time_s);
    }
    for (const int after : successors_[next.task]) {
      if (--waits[after] == 0) start(after, next.time_s);
    }
  }
  TS_REQUIRE(ended == size(), ended, size());  // fewer: the graph has a cycle
  return times;
}

}  // namespace tessera::planner::sim
