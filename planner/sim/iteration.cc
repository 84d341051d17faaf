#include "planner/sim/iteration.h"

#include <algorithm>
#include <utility>

#include "algos/base/require.h"
#include "planner/plan/one_f_one_b.h"

namespace tessera::planner::sim {
namespace {

/// The graph's tasks of one stage.
struct StageTasks {
  std::vector<int> forward;       // by micro-batch
  std::vector<int> backward;      // first piece, by micro-batch
  std::vector<int> backward_end;  // last piece
  std::vector<int> send_activation;
  std::vector<int> send_gradient;
  int last = -1;                               // of the stage's work before the update
  std::vector<std::pair<double, int>> passed;  // the last backward's pieces: share passed at its end, task
};

/// A task of the answer and the first and last of the graph's tasks that it consists of.
struct Named {
  Task task;
  int first;
  int last;
};

class Builder {
 public:
  explicit Builder(const Iteration& iteration) : it_(iteration), graph_(iteration.nic_bytes_per_s) {
    check();
    for (const Group& group : it_.groups) tasks_.emplace_back(group.stages.size());
    for (int g = 0; g < size(it_.groups); ++g) {
      for (int s = 0; s < size(it_.groups[g].stages); ++s) work(g, s);
      for (int s = 0; s < size(it_.groups[g].stages); ++s) receive(g, s);
    }
    finish();
  }

  Timeline timeline() {
    const TaskTimes times = graph_.replay();
    Timeline out;
    for (const Group& group : it_.groups) out.busy_s.emplace_back(group.stages.size());
    double reduced = 0;
    double updated = 0;
    for (auto& [task, first, last] : named_) {
      task.start_s = times.start_s[first];
      task.end_s = times.end_s[last];
      out.iteration_s = std::max(out.iteration_s, task.end_s);
      if (task.kind == TaskKind::kForward || task.kind == TaskKind::kBackward) {
        out.busy_s[task.group][task.stage] += task.end_s - task.start_s;
        out.pipeline_s = std::max(out.pipeline_s, task.end_s);
      }
      if (task.kind == TaskKind::kReduce) reduced = std::max(reduced, task.end_s);
      if (task.kind == TaskKind::kUpdate) updated = std::max(updated, task.end_s);
      out.tasks.push_back(task);
    }
    std::stable_sort(out.tasks.begin(), out.tasks.end(),
                     [](const Task& a, const Task& b) { return a.start_s < b.start_s; });
    reduced = std::max(reduced, out.pipeline_s);
    updated = std::max(updated, reduced);
    out.reduce_exposed_s = reduced - out.pipeline_s;
    out.update_s = updated - reduced;
    out.gather_exposed_s = out.iteration_s - updated;
    return out;
  }

 private:
  template <class T>
  static int size(const std::vector<T>& v) {
    return static_cast<int>(v.size());
  }

  void check() const {
    TS_REQUIRE(!it_.groups.empty());
    for (const Group& group : it_.groups) {
      TS_REQUIRE(!group.stages.empty());
      TS_REQUIRE(group.micro_batches >= 1, group.micro_batches);
    }
    for (const Segment& segment : it_.segments) {
      TS_REQUIRE(!segment.owners.empty(), segment.name);
      for (const Owner& owner : segment.owners) {
        TS_REQUIRE(owner.group >= 0 && owner.group < size(it_.groups), segment.name, owner.group);
        TS_REQUIRE(owner.stage >= 0 && owner.stage < size(it_.groups[owner.group].stages), segment.name,
                   owner.stage);
        TS_REQUIRE(owner.ready >= 0 && owner.ready <= 1, segment.name, owner.ready);
      }
    }
  }

  int add(double seconds, const std::vector<Demand>& demands = {}) {
    return graph_.add_task(seconds, demands);
  }
  void name(TaskKind kind, int group, int stage, int index, int first, int last) {
    named_.push_back({{kind, group, stage, index, 0, 0}, first, last});
  }

  /// What the stage does, in program order, and what it sends. The last backward is cut where a segment
  /// becomes ready.
  void work(int g, int s) {
    const Group& group = it_.groups[g];
    const Stage& stage = group.stages[s];
    StageTasks& tasks = tasks_[g][s];
    const int m = group.micro_batches;
    tasks.forward.resize(m);
    tasks.backward.resize(m);
    int before = -1;
    const auto append = [&](double seconds) {
      const int task = add(seconds);
      if (before >= 0) graph_.add_edge(before, task);
      return before = task;
    };
    const auto send = [&](TaskKind kind, const Transfer& transfer, std::vector<int>& sent, int i) {
      const int task = add(transfer.seconds, transfer.demands);
      graph_.add_edge(before, task);
      if (!sent.empty()) graph_.add_edge(sent.back(), task);  // one message at a time
      if (it_.blocking_sends) before = task;
      sent.push_back(task);
      name(kind, g, s, i, task, task);
    };
    const std::vector<double> cuts = ready_cuts(g, s);
    for (const PipelineSlot& slot : one_f_one_b(size(group.stages), s, m)) {
      const int i = slot.micro_batch;
      if (!slot.backward) {
        tasks.forward[i] = append(stage.forward_s);
        name(TaskKind::kForward, g, s, i, tasks.forward[i], tasks.forward[i]);
        if (s + 1 < size(group.stages)) {
          send(TaskKind::kSendActivation, stage.send_activation, tasks.send_activation, i);
        }
        continue;
      }
      double passed = 0;
      int first = -1;
      for (const double cut : i < m - 1 ? std::vector<double>{1} : cuts) {
        const int piece = append(stage.backward_s * (cut - passed));
        if (first < 0) first = piece;
        if (i == m - 1) tasks.passed.emplace_back(cut, piece);
        passed = cut;
      }
      tasks.backward[i] = first;
      name(TaskKind::kBackward, g, s, i, first, before);
      if (s > 0) send(TaskKind::kSendGradient, stage.send_gradient, tasks.send_gradient, i);
    }
    tasks.last = before;
  }

  /// Shares of the stage's last backward at whose end some segment becomes ready, increasing, ending with 1.
  [[nodiscard]] std::vector<double> ready_cuts(int g, int s) const {
    std::vector<double> cuts = {1};
    for (const Segment& segment : it_.segments) {
      for (const Owner& owner : segment.owners) {
        if (owner.group == g && owner.stage == s) cuts.push_back(owner.ready);
      }
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    return cuts;
  }

  /// No work starts before its message is there.
  void receive(int g, int s) {
    for (int i = 0; i < it_.groups[g].micro_batches; ++i) {
      if (s > 0) graph_.add_edge(tasks_[g][s - 1].send_activation[i], tasks_[g][s].forward[i]);
      if (s + 1 < size(it_.groups[g].stages)) {
        graph_.add_edge(tasks_[g][s + 1].send_gradient[i], tasks_[g][s].backward[i]);
      }
    }
  }

  /// Reductions, updates, gathers.
  void finish() {
    std::vector<std::vector<int>> stream(size(it_.groups));  // last task on each stage's stream, or -1
    std::vector<std::vector<int>> update(size(it_.groups));
    for (int g = 0; g < size(it_.groups); ++g) {
      stream[g].assign(it_.groups[g].stages.size(), -1);
    }
    const auto follow = [&](int& last, int task) {
      if (last >= 0) graph_.add_edge(last, task);
      last = task;
    };
    const int reduced = it_.norm_barrier ? add(0) : -1;
    for (int n = 0; n < size(it_.segments); ++n) {
      const Segment& segment = it_.segments[n];
      const int task = add(segment.reduce.seconds, segment.reduce.demands);
      for (const Owner& owner : segment.owners) {
        const auto& passed = tasks_[owner.group][owner.stage].passed;
        const auto piece = std::ranges::find(passed, owner.ready, &std::pair<double, int>::first);
        graph_.add_edge(piece->second, task);
        follow(stream[owner.group][owner.stage], task);
      }
      if (reduced >= 0) graph_.add_edge(task, reduced);
      name(TaskKind::kReduce, -1, -1, n, task, task);
    }
    for (int g = 0; g < size(it_.groups); ++g) {
      for (int s = 0; s < size(it_.groups[g].stages); ++s) {
        const int task = add(it_.groups[g].stages[s].update_s);
        graph_.add_edge(tasks_[g][s].last, task);
        if (reduced >= 0) {
          graph_.add_edge(tasks_[g][s].last, reduced);
          graph_.add_edge(reduced, task);
        }
        follow(stream[g][s], task);
        name(TaskKind::kUpdate, g, s, 0, task, task);
      }
    }
    for (int n = 0; n < size(it_.segments); ++n) {
      const Segment& segment = it_.segments[n];
      if (segment.gather.seconds == 0) continue;
      const int task = add(segment.gather.seconds, segment.gather.demands);
      for (const Owner& owner : segment.owners) follow(stream[owner.group][owner.stage], task);
      name(TaskKind::kGather, -1, -1, n, task, task);
    }
  }

  const Iteration& it_;
  TaskGraph graph_;
  std::vector<std::vector<StageTasks>> tasks_;  // by group, stage
  std::vector<Named> named_;
};

}  // namespace

Timeline simulate(const Iteration& iteration) { return Builder(iteration).timeline(); }

double bubble_share(const Timeline& timeline) {
  double busy = 0;
  double stages = 0;
  for (const auto& group : timeline.busy_s) {
    for (const double stage : group) busy += stage;
    stages += static_cast<double>(group.size());
  }
  return 1 - busy / (stages * timeline.pipeline_s);
}

}  // namespace tessera::planner::sim
