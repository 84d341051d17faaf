#include "planner/sim/trace.h"

#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "planner/sim/memory_curve.h"

namespace tessera::planner::sim {
namespace {

/// Tracks of a stage, in the order in which they are drawn.
enum Track { kCompute, kActivations, kGradients, kReduction, kTracks };
constexpr std::string_view kTrackNames[kTracks] = {"compute", "activations out", "gradients out",
                                                   "reduction"};

int thread_of(int stage, Track track) { return stage * kTracks + track; }

/// As a JSON string with its quotes; names come from specifications and may hold any bytes.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Writer {
 public:
  void event(const std::string& body) {
    out_ += out_.empty() ? "{\"traceEvents\":[\n" : ",\n";
    out_ += body;
  }
  void span(const std::string& name, std::string_view category, int group, int thread, const Task& task) {
    event(fmt::format(R"({{"ph":"X","name":{},"cat":"{}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f}}})",
                      quoted(name), category, group, thread, task.start_s * 1e6,
                      (task.end_s - task.start_s) * 1e6));
  }
  std::string text() && { return std::move(out_) + "\n],\"displayTimeUnit\":\"ms\"}\n"; }

 private:
  std::string out_;
};

void name_tracks(const Iteration& iteration, Writer& writer) {
  for (std::size_t g = 0; g < iteration.groups.size(); ++g) {
    const Group& group = iteration.groups[g];
    writer.event(
        fmt::format(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"group {}"}}}})", g, g));
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      for (int track = 0; track < kTracks; ++track) {
        const int thread = thread_of(static_cast<int>(s), static_cast<Track>(track));
        const std::string name = fmt::format("stage {} {} {}", s, group.stages[s].name, kTrackNames[track]);
        writer.event(
            fmt::format(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})", g,
                        thread, quoted(name)));
        writer.event(fmt::format(
            R"({{"ph":"M","name":"thread_sort_index","pid":{},"tid":{},"args":{{"sort_index":{}}}}})", g,
            thread, thread));
      }
    }
  }
}

}  // namespace

std::string chrome_trace(const Iteration& iteration, const Timeline& timeline) {
  Writer writer;
  name_tracks(iteration, writer);
  for (const Task& task : timeline.tasks) {
    const auto own = [&](const std::string& name, std::string_view category, Track track) {
      writer.span(name, category, task.group, thread_of(task.stage, track), task);
    };
    const auto everywhere = [&](std::string_view what) {
      const Segment& segment = iteration.segments[task.index];
      for (const Owner& owner : segment.owners) {
        writer.span(fmt::format("{} {}", what, segment.name), what, owner.group,
                    thread_of(owner.stage, kReduction), task);
      }
    };
    switch (task.kind) {
      case TaskKind::kForward: own(fmt::format("F{}", task.index), "forward", kCompute); break;
      case TaskKind::kBackward: own(fmt::format("B{}", task.index), "backward", kCompute); break;
      case TaskKind::kSendActivation: own(fmt::format("a{}", task.index), "activation", kActivations); break;
      case TaskKind::kSendGradient: own(fmt::format("g{}", task.index), "gradient", kGradients); break;
      case TaskKind::kUpdate: own("update", "update", kCompute); break;
      case TaskKind::kReduce: everywhere("reduce"); break;
      case TaskKind::kGather: everywhere("gather"); break;
    }
  }
  const auto curves = memory_curves(iteration, timeline);
  for (std::size_t g = 0; g < curves.size(); ++g) {
    for (std::size_t s = 0; s < curves[g].size(); ++s) {
      for (const MemoryPoint& point : curves[g][s].points) {
        writer.event(fmt::format(
            R"({{"ph":"C","name":"memory stage {}","pid":{},"ts":{:.3f},"args":{{"MB":{:.1f}}}}})", s, g,
            point.time_s * 1e6, point.bytes / 1e6));
      }
    }
  }
  return std::move(writer).text();
}

}  // namespace tessera::planner::sim
