#include "planner/tools/timeline_picture.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "planner/tools/svg.h"

namespace tessera::planner::tools {
namespace {

using sim::TaskKind;

constexpr double kLeft = 210;  // labels
constexpr double kWidth = 1180;
constexpr double kRight = 20;
constexpr double kRow = 26;       // one stage
constexpr double kCompute = 15;   // bar of computation
constexpr double kStrip = 5;      // bar of communication below it
constexpr double kHeading = 26;   // above a group
constexpr double kNarrow = 1.5;   // pixels: narrower tasks are merged
constexpr double kMerged = 6;     // pixels: a merged bar is not continued beyond
constexpr double kNumbered = 15;  // pixels: wider tasks show their micro-batch
constexpr int kMostRows = 64;

struct Bar {
  TaskKind kind;
  double start_s;
  double end_s;
  std::string title;
  int micro_batch;  // -1: several, or none
};

std::string_view css(TaskKind kind) {
  switch (kind) {
    case TaskKind::kForward: return "forward";
    case TaskKind::kBackward: return "backward";
    case TaskKind::kUpdate: return "update";
    case TaskKind::kReduce: return "reduce";
    case TaskKind::kGather: return "gather";
    default: return "send";
  }
}

std::string seconds(double value) {
  if (value == 0) return "0";
  if (value < 1e-3) return fmt::format("{:.0f} us", value * 1e6);
  return value < 1 ? fmt::format("{:.3g} ms", value * 1e3) : fmt::format("{:.4g} s", value);
}

/// What two groups must share to be drawn once: what is in them and when it ran.
bool same(const sim::Group& a, const sim::Group& b, double end_a, double end_b) {
  if (a.micro_batches != b.micro_batches || a.stages.size() != b.stages.size()) return false;
  if (std::abs(end_a - end_b) > 1e-3 * end_a) return false;
  for (std::size_t s = 0; s < a.stages.size(); ++s) {
    const sim::Stage& x = a.stages[s];
    const sim::Stage& y = b.stages[s];
    if (x.name != y.name || x.forward_s != y.forward_s || x.backward_s != y.backward_s) return false;
  }
  return true;
}

class Picture {
 public:
  Picture(const sim::Iteration& iteration, const sim::Timeline& timeline)
      : iteration_(iteration), timeline_(timeline) {
    const std::size_t groups = iteration.groups.size();
    compute_.resize(groups);
    strip_.resize(groups);
    end_s_.resize(groups);
    for (std::size_t g = 0; g < groups; ++g) {
      compute_[g].resize(iteration.groups[g].stages.size());
      strip_[g].resize(iteration.groups[g].stages.size());
    }
    for (const sim::Task& task : timeline.tasks) sort_in(task);
  }

  std::string element() {
    double y = 4;
    std::vector<bool> drawn(iteration_.groups.size());
    std::size_t rows = 0;
    for (std::size_t g = 0; g < drawn.size(); ++g) {
      if (drawn[g]) continue;
      rows += iteration_.groups[g].stages.size();
      if (g > 0 && rows > kMostRows) continue;
      int count = 0;
      for (std::size_t h = g; h < drawn.size(); ++h) {
        if (drawn[h] || !same(iteration_.groups[g], iteration_.groups[h], end_s_[g], end_s_[h])) continue;
        drawn[h] = true;
        ++count;
      }
      y = group(g, count, y);
    }
    if (const auto left = std::ranges::count(drawn, false); left > 0) {
      svg_.text(0, y + kHeading / 2, fmt::format("{} more groups: --trace has all", left), "label start");
      y += kHeading;
    }
    axis(y);
    return svg_.element(kWidth, y + 34, "timeline of one iteration, one row per stage");
  }

 private:
  [[nodiscard]] double x(double time_s) const {
    return kLeft + (kWidth - kLeft - kRight) * time_s / timeline_.iteration_s;
  }

  void sort_in(const sim::Task& task) {
    const double length = task.end_s - task.start_s;
    if (length <= 0) return;
    const auto title = [&](const std::string& what) {
      return fmt::format("{}: {} to {} ({})", what, seconds(task.start_s), seconds(task.end_s),
                         seconds(length));
    };
    const auto put = [&](std::vector<Bar>& bars, const std::string& what, int micro_batch) {
      bars.push_back({task.kind, task.start_s, task.end_s, title(what), micro_batch});
    };
    switch (task.kind) {
      case TaskKind::kForward:
        put(compute_[task.group][task.stage], fmt::format("forward {}", task.index), task.index);
        break;
      case TaskKind::kBackward:
        put(compute_[task.group][task.stage], fmt::format("backward {}", task.index), task.index);
        end_s_[task.group] = std::max(end_s_[task.group], task.end_s);
        break;
      case TaskKind::kUpdate: put(compute_[task.group][task.stage], "optimizer update", -1); break;
      case TaskKind::kSendActivation:
        put(strip_[task.group][task.stage], fmt::format("activation {} out", task.index), -1);
        break;
      case TaskKind::kSendGradient:
        put(strip_[task.group][task.stage], fmt::format("gradient {} out", task.index), -1);
        break;
      case TaskKind::kReduce:
      case TaskKind::kGather:
        for (const sim::Owner& owner : iteration_.segments[task.index].owners) {
          put(strip_[owner.group][owner.stage],
              fmt::format("{} {}", css(task.kind), iteration_.segments[task.index].name), -1);
        }
        break;
    }
  }

  double group(std::size_t g, int count, double y) {
    const sim::Group& group = iteration_.groups[g];
    svg_.text(0, y + kHeading / 2,
              fmt::format("group {}{} · {} micro-batches · {} stages", g,
                          count > 1 ? fmt::format(" and {} like it", count - 1) : "", group.micro_batches,
                          group.stages.size()),
              "heading start");
    y += kHeading;
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      svg_.text(kLeft - 8, y + kRow / 2, fmt::format("{} {}", s, group.stages[s].name), "label end");
      svg_.rect(kLeft, y + 2, kWidth - kLeft - kRight, kCompute, "idle");
      bars(compute_[g][s], y + 2, kCompute);
      bars(strip_[g][s], y + 2 + kCompute, kStrip);
      y += kRow;
    }
    return y + 6;
  }

  [[nodiscard]] double width(const Bar& bar) const { return x(bar.end_s) - x(bar.start_s); }

  /// Bars in order of start. Narrow ones without a visible gap are drawn as one, up to kMerged wide.
  void bars(const std::vector<Bar>& list, double y, double height) {
    for (std::size_t i = 0; i < list.size();) {
      Bar bar = list[i++];
      std::string_view colour = css(bar.kind);
      int merged = 1;
      while (i < list.size() && width(bar) < kMerged && width(list[i]) < kNarrow &&
             x(list[i].start_s) - x(bar.end_s) < 0.5) {
        if (list[i].kind != bar.kind) colour = height == kCompute ? "busy" : "send";
        bar.end_s = std::max(bar.end_s, list[i++].end_s);
        ++merged;
      }
      const std::string title =
          merged == 1 ? bar.title : fmt::format("{} and {} more", bar.title, merged - 1);
      const double wide = width(bar);
      svg_.rect(x(bar.start_s), y, std::max(wide - (wide > 3 ? 0.6 : 0), 0.3), height, colour, title);
      if (merged == 1 && bar.micro_batch >= 0 && wide > kNumbered) {
        svg_.text(x(bar.start_s) + wide / 2, y + height / 2 + 0.5, std::to_string(bar.micro_batch),
                  "number middle");
      }
    }
  }

  void axis(double y) {
    const double step = round_step(timeline_.iteration_s, 10);
    for (int k = 0; k * step <= timeline_.iteration_s * (1 + 1e-9); ++k) {
      svg_.line(x(k * step), y, x(k * step), y + 5, "axis");
      svg_.text(x(k * step), y + 15, seconds(k * step), "label middle");
    }
    svg_.line(kLeft, y, kWidth - kRight, y, "axis");
    svg_.line(x(timeline_.pipeline_s), 0, x(timeline_.pipeline_s), y, "mark");
    svg_.text(x(timeline_.pipeline_s), y + 27, "last backward ends", "label end");
  }

  const sim::Iteration& iteration_;
  const sim::Timeline& timeline_;
  Svg svg_;
  std::vector<std::vector<std::vector<Bar>>> compute_;  // by group, stage
  std::vector<std::vector<std::vector<Bar>>> strip_;
  std::vector<double> end_s_;  // last backward of the group
};

}  // namespace

std::string timeline_picture(const sim::Iteration& iteration, const sim::Timeline& timeline) {
  return Picture(iteration, timeline).element();
}

}  // namespace tessera::planner::tools
