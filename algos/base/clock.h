/// Time as a dependency: code that waits or measures takes a Clock, tests drive a ManualClock.
#pragma once

#include <chrono>

namespace tessera {

using Nanoseconds = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotone; the epoch is unspecified.
  [[nodiscard]] virtual Nanoseconds now() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] Nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }
};

class ManualClock final : public Clock {
 public:
  [[nodiscard]] Nanoseconds now() const override { return now_; }
  void advance(Nanoseconds by) { now_ += by; }

 private:
  Nanoseconds now_{0};
};

/// Seconds as a double, for reports.
inline double seconds(Nanoseconds span) { return std::chrono::duration<double>(span).count(); }

}  // namespace tessera
