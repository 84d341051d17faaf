#include "planner/sim/memory_curve.h"

#include <algorithm>

namespace tessera::planner::sim {
namespace {

struct Change {
  double time_s;
  double activations;  // micro-batches
  double workspaces;
  [[nodiscard]] bool releases() const { return activations + workspaces < 0; }
};

}  // namespace

std::vector<std::vector<MemoryCurve>> memory_curves(const Iteration& iteration, const Timeline& timeline) {
  std::vector<std::vector<std::vector<Change>>> changes;
  for (const Group& group : iteration.groups) changes.emplace_back(group.stages.size());
  for (const Task& task : timeline.tasks) {
    if (task.kind == TaskKind::kForward) {
      changes[task.group][task.stage].push_back({task.start_s, 1, 1});
      changes[task.group][task.stage].push_back({task.end_s, 0, -1});
    } else if (task.kind == TaskKind::kBackward) {
      changes[task.group][task.stage].push_back({task.start_s, 0, 1});
      changes[task.group][task.stage].push_back({task.end_s, -1, -1});
    }
  }
  std::vector<std::vector<MemoryCurve>> curves;
  for (std::size_t g = 0; g < changes.size(); ++g) {
    std::vector<MemoryCurve>& of_group = curves.emplace_back();
    for (std::size_t s = 0; s < changes[g].size(); ++s) {
      const Stage& stage = iteration.groups[g].stages[s];
      std::vector<Change>& list = changes[g][s];
      std::stable_sort(list.begin(), list.end(), [](const Change& a, const Change& b) {
        return a.time_s != b.time_s ? a.time_s < b.time_s : a.releases() > b.releases();
      });
      MemoryCurve& curve = of_group.emplace_back();
      curve.points.push_back({0, stage.static_bytes});
      curve.peak_bytes = stage.static_bytes;
      double activations = 0;
      double workspaces = 0;
      for (const Change& change : list) {
        activations += change.activations;
        workspaces += change.workspaces;
        const double bytes =
            stage.static_bytes + activations * stage.activation_bytes + workspaces * stage.workspace_bytes;
        if (curve.points.back().time_s == change.time_s) {
          curve.points.back().bytes = bytes;
        } else {
          curve.points.push_back({change.time_s, bytes});
        }
        curve.peak_bytes = std::max(curve.peak_bytes, bytes);
      }
    }
  }
  return curves;
}

}  // namespace tessera::planner::sim
