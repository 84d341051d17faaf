#include "planner/tools/cluster_picture.h"

#include <algorithm>

#include <fmt/format.h>

#include "planner/tools/svg.h"

namespace tessera::planner::tools {
namespace {

constexpr double kWidth = 1180;
constexpr double kDevice = 33;
constexpr double kGap = 4;
constexpr double kMargin = 10;
constexpr double kTitle = 40;  // two lines of text
constexpr int kAcross = 8;     // devices in a row of a node
constexpr int kColours = 6;
constexpr std::size_t kMostNodes = 64;

int across(const NodeBox& node) { return std::clamp(static_cast<int>(node.devices.size()), 4, kAcross); }

double width_of(const NodeBox& node) { return 2 * kMargin + across(node) * (kDevice + kGap) - kGap; }

double height_of(const NodeBox& node) {
  const int rows = (static_cast<int>(node.devices.size()) + kAcross - 1) / kAcross;
  return kTitle + rows * (kDevice + kGap) + kMargin;
}

void draw(const NodeBox& node, double left, double top, Svg& svg) {
  svg.rect(left, top, width_of(node), height_of(node), "node");
  svg.text(left + kMargin, top + 13, node.name, "heading start");
  svg.text(left + kMargin, top + 29, node.label, "label start");
  for (std::size_t i = 0; i < node.devices.size(); ++i) {
    const DeviceBox& device = node.devices[i];
    const double x = left + kMargin + static_cast<double>(i % kAcross) * (kDevice + kGap);
    const double y = top + kTitle + static_cast<double>(i / kAcross) * (kDevice + kGap);
    if (device.group < 0) {
      svg.rect(x, y, kDevice, kDevice, "unused", fmt::format("device {}: idle", i));
      continue;
    }
    svg.rect(x, y, kDevice, kDevice, fmt::format("t{}", device.group % kColours),
             fmt::format("device {}: group {}, stage {}", i, device.group, device.stage));
    svg.text(x + kDevice / 2, y + kDevice / 2, fmt::format("{}.{}", device.group, device.stage), "middle");
  }
}

}  // namespace

std::string cluster_picture(const std::vector<NodeBox>& nodes) {
  Svg svg;
  double x = 1;
  double y = 1;
  double tallest = 0;
  const std::size_t drawn = std::min(nodes.size(), kMostNodes);
  for (std::size_t n = 0; n < drawn; ++n) {
    if (x > 1 && x + width_of(nodes[n]) > kWidth) {
      x = 1;
      y += tallest + 12;
      tallest = 0;
    }
    draw(nodes[n], x, y, svg);
    x += width_of(nodes[n]) + 12;
    tallest = std::max(tallest, height_of(nodes[n]));
  }
  y += tallest + 4;
  if (drawn < nodes.size()) {
    svg.text(0, y + 10, fmt::format("and {} more nodes", nodes.size() - drawn), "label start");
    y += 24;
  }
  return svg.element(kWidth, y, "nodes and devices, coloured by data-parallel group");
}

}  // namespace tessera::planner::tools
