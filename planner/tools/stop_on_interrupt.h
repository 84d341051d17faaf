/// Ctrl-C as a question that long work asks: stop early and say what is known.
#pragma once

namespace tessera::planner::tools {

/// While it lives, the first SIGINT sets stopped(); the second ends the program as usual. One at a time.
class StopOnInterrupt {
 public:
  StopOnInterrupt();
  ~StopOnInterrupt();
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;

  [[nodiscard]] static bool stopped();
};

}  // namespace tessera::planner::tools
