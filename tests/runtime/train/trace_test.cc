#include "runtime/train/trace.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera::runtime {
namespace {

TEST(Trace, IsChromesFormatWithAProcessPerRank) {
  ManualClock clock;
  clock.advance(Nanoseconds(5'000'000));
  TraceRecorder recorder(clock);
  recorder.add("before", "step", Nanoseconds(0), Nanoseconds(1));
  recorder.start();
  {
    const TraceRecorder::Span span(recorder, "forward \"quoted\"", "step");
    clock.advance(Nanoseconds(1'500));
  }
  recorder.add("receive_row 1,2", "transfers", clock.now(), clock.now() + Nanoseconds(2'000));
  recorder.stop();
  recorder.add("after", "step", clock.now(), clock.now());
  EXPECT_EQ(recorder.events(), 2U);

  const auto json = nlohmann::json::parse(chrome_trace({recorder.events_json(0), recorder.events_json(3)}));
  const auto& events = json.at("traceEvents");
  ASSERT_EQ(events.size(), 2U * (1 + 2 + 2));  // process, two lanes, two events
  const auto& forward = events.at(8);
  EXPECT_EQ(forward.at("ph"), "X");
  EXPECT_EQ(forward.at("name"), "forward \"quoted\"");
  EXPECT_EQ(forward.at("pid"), 3);
  EXPECT_EQ(forward.at("ts"), 0.0);
  EXPECT_EQ(forward.at("dur"), 1.5);
  EXPECT_EQ(events.at(9).at("ts"), 1.5);
  EXPECT_NE(events.at(9).at("tid"), forward.at("tid"));
}

}  // namespace
}  // namespace tessera::runtime
