/// The nodes, their devices, and which group and stage each device works for.
#pragma once

#include <string>
#include <vector>

namespace tessera::planner::tools {

struct DeviceBox {
  int group = -1;  // -1: idle
  int stage = 0;
};

struct NodeBox {
  std::string name;
  std::string label;  // device type, link, price
  std::vector<DeviceBox> devices;
};

/// An <svg> element: a box per node, a square per device coloured by group and numbered group.stage. Beyond
/// 64 nodes, the first 64 are drawn and the rest counted.
[[nodiscard]] std::string cluster_picture(const std::vector<NodeBox>& nodes);

}  // namespace tessera::planner::tools
