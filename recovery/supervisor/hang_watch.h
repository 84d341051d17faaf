/// Whether a rank hangs, from heartbeats alone: pure, but for what it has seen before.
///
/// A rank whose `beat` does not change for max(least, factor * median step) while it trains hangs; in other
/// states (restoring, saving, evaluating) after `quiet`, as nothing beats inside them. Of several the one
/// that has been silent longest is named: the others wait for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "recovery/supervisor/heartbeat.h"

namespace tessera::recovery {

struct HangPolicy {
  double least_s = 60;
  double factor = 10;
  double quiet_s = 600;
};

struct Hang {
  Heartbeat last;
  double silent_s = 0;
  double limit_s = 0;
};

class HangWatch {
 public:
  explicit HangWatch(HangPolicy policy) : policy_(policy) {}
  /// `now` in seconds, of a clock that only this process reads.
  void observe(const std::vector<Heartbeat>& beats, double now);
  [[nodiscard]] std::optional<Hang> hang(double now) const;
  /// Of the last steps, the slowest rank's each; 0: none yet.
  [[nodiscard]] double median_step_s() const;

 private:
  struct Seen {
    Heartbeat beat;
    double since = 0;
  };
  [[nodiscard]] double limit_s(RankState state) const;
  HangPolicy policy_;
  std::map<int, Seen> ranks_;
  std::deque<double> steps_;
  std::int64_t step_ = 0;
};

}  // namespace tessera::recovery
