#include "runtime/train/trace.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tessera::runtime {

void TraceRecorder::start() {
  on_ = true;
  origin_ = clock_.now();
  lanes_.clear();
  events_.clear();
}

void TraceRecorder::add(std::string name, const std::string& lane, Nanoseconds begin, Nanoseconds end) {
  if (!on_) return;
  const auto at = std::find(lanes_.begin(), lanes_.end(), lane);
  const auto index = static_cast<std::size_t>(at - lanes_.begin());
  if (at == lanes_.end()) lanes_.push_back(lane);
  events_.push_back({std::move(name), index, begin - origin_, end - origin_});
}

std::string TraceRecorder::events_json(int rank) const {
  const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
  const auto microseconds = [](Nanoseconds span) { return static_cast<double>(span.count()) * 1e-3; };
  std::string out =
      fmt::format(R"({{"ph":"M","name":"process_name","pid":{0},"args":{{"name":"rank {0}"}}}})", rank);
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    out += fmt::format(
        ",\n"
        R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})",
        rank, i, quoted(lanes_[i]));
  }
  for (const Event& event : events_) {
    out += fmt::format(
        ",\n"
        R"({{"ph":"X","name":{},"pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f}}})",
        quoted(event.name), rank, event.lane, microseconds(event.begin),
        microseconds(event.end - event.begin));
  }
  return out;
}

std::string chrome_trace(const std::vector<std::string>& rank_events) {
  return fmt::format("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n",
                     fmt::join(rank_events, ",\n"));
}

}  // namespace tessera::runtime
