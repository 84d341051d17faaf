// The Chrome trace: valid JSON, every task on its track with its times.
#include "planner/sim/trace.h"

#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/planner/sim/random_iteration.h"

namespace tessera::planner::sim {
namespace {

TEST(ChromeTrace, HoldsEveryTask) {
  std::mt19937 random(31);
  Iteration iteration = random_iteration(random, {});
  iteration.groups[0].stages[0].name = "A100 \"first\" \x80";  // a quote and a broken byte
  const Timeline timeline = simulate(iteration);
  const auto trace = nlohmann::json::parse(chrome_trace(iteration, timeline));
  std::map<std::string, double> seconds;  // by category
  std::size_t named_tracks = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X") seconds[event["cat"]] += event["dur"].get<double>() * 1e-6;
    if (event["ph"] == "M" && event["name"] == "thread_name") ++named_tracks;
  }
  std::map<std::string, double> expected;
  for (const Task& task : timeline.tasks) {
    const double duration = task.end_s - task.start_s;
    const double owners =
        task.group < 0 ? static_cast<double>(iteration.segments[task.index].owners.size()) : 1;
    static constexpr const char* kNames[] = {"forward", "backward", "activation", "gradient",
                                             "reduce",  "update",   "gather"};
    expected[kNames[static_cast<int>(task.kind)]] += duration * owners;
  }
  ASSERT_EQ(seconds.size(), expected.size());
  // Durations are printed to a nanosecond.
  for (const auto& [category, sum] : expected) {
    EXPECT_NEAR(seconds[category], sum, 1e-9 * static_cast<double>(timeline.tasks.size())) << category;
  }
  std::size_t stages = 0;
  for (const Group& group : iteration.groups) stages += group.stages.size();
  EXPECT_EQ(named_tracks, 4 * stages);
}

}  // namespace
}  // namespace tessera::planner::sim
