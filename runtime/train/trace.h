/// What one rank did in one step, as Chrome trace events (chrome://tracing, Perfetto): a process per rank, a
/// lane per kind of work.
/// Format    "Trace Event Format", complete events ("ph": "X"), times in microseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/clock.h"

namespace tessera::runtime {

class TraceRecorder {
 public:
  explicit TraceRecorder(const Clock& clock) : clock_(clock) {}

  /// Records from here on; times are relative to this moment, so ranks call it right after a barrier.
  void start();
  void stop() { on_ = false; }
  [[nodiscard]] bool on() const { return on_; }

  /// Ignored unless on. Lanes keep the order in which they first appear.
  void add(std::string name, const std::string& lane, Nanoseconds begin, Nanoseconds end);

  /// A span from its construction to its destruction.
  class Span {
   public:
    Span(TraceRecorder& recorder, const char* name, const char* lane)
        : recorder_(recorder), name_(name), lane_(lane), begin_(recorder.clock_.now()) {}
    ~Span() { recorder_.add(name_, lane_, begin_, recorder_.clock_.now()); }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    TraceRecorder& recorder_;
    const char* name_;
    const char* lane_;
    Nanoseconds begin_;
  };

  /// This rank's events as JSON objects separated by commas: a piece of "traceEvents".
  [[nodiscard]] std::string events_json(int rank) const;
  [[nodiscard]] std::size_t events() const { return events_.size(); }

 private:
  struct Event {
    std::string name;
    std::size_t lane;
    Nanoseconds begin;
    Nanoseconds end;
  };
  const Clock& clock_;
  bool on_ = false;
  Nanoseconds origin_{0};
  std::vector<std::string> lanes_;
  std::vector<Event> events_;
};

/// The whole file, of the pieces of all ranks.
[[nodiscard]] std::string chrome_trace(const std::vector<std::string>& rank_events);

}  // namespace tessera::runtime
