/// What fills each stage's devices at their fullest, against what they have.
#pragma once

#include <string>
#include <vector>

namespace tessera::planner::tools {

/// One stage; bytes per device.
struct MemoryBar {
  std::string label;
  double static_bytes = 0;      // weights, gradients, optimizer states, buffers
  double activation_bytes = 0;  // of all micro-batches in flight
  double workspace_bytes = 0;
  double capacity_bytes = 0;
};

/// An <svg> element; bars longer than the capacity are marked. At most 64 rows: equal rows are drawn once
/// with their count, and the fullest are kept.
[[nodiscard]] std::string memory_picture(const std::vector<MemoryBar>& bars);

}  // namespace tessera::planner::tools
