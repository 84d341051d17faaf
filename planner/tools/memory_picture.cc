#include "planner/tools/memory_picture.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "planner/tools/svg.h"

namespace tessera::planner::tools {
namespace {

constexpr double kLeft = 250;
constexpr double kWidth = 1180;
constexpr double kRight = 190;  // numbers behind the bar
constexpr double kRow = 22;
constexpr double kBar = 14;
constexpr std::size_t kMostRows = 64;

double needed(const MemoryBar& bar) { return bar.static_bytes + bar.activation_bytes + bar.workspace_bytes; }

bool same(const MemoryBar& a, const MemoryBar& b) {
  return a.label == b.label && a.static_bytes == b.static_bytes && a.activation_bytes == b.activation_bytes &&
         a.workspace_bytes == b.workspace_bytes && a.capacity_bytes == b.capacity_bytes;
}

struct Row {
  MemoryBar bar;
  int count;
};

std::vector<Row> distinct(const std::vector<MemoryBar>& bars) {
  std::vector<Row> rows;
  for (const MemoryBar& bar : bars) {
    const auto at = std::ranges::find_if(rows, [&](const Row& row) { return same(row.bar, bar); });
    if (at == rows.end()) {
      rows.push_back({bar, 1});
    } else {
      ++at->count;
    }
  }
  if (rows.size() > kMostRows) {
    std::ranges::stable_sort(rows, std::ranges::greater{},
                             [](const Row& row) { return needed(row.bar) / row.bar.capacity_bytes; });
    rows.resize(kMostRows);
  }
  return rows;
}

}  // namespace

std::string memory_picture(const std::vector<MemoryBar>& bars) {
  Svg svg;
  double most = 0;
  for (const MemoryBar& bar : bars) most = std::max({most, needed(bar), bar.capacity_bytes});
  const auto width_of = [&](double bytes) { return (kWidth - kLeft - kRight) * bytes / most; };
  double y = 4;
  for (const auto& [bar, count] : distinct(bars)) {
    svg.text(kLeft - 8, y + kRow / 2, bar.label + (count > 1 ? fmt::format(" × {}", count) : ""),
             "label end");
    const double top = y + (kRow - kBar) / 2;
    svg.rect(kLeft, top, width_of(bar.capacity_bytes), kBar, "free");
    double x = kLeft;
    const auto part = [&](double bytes, const char* css) {
      svg.rect(x, top, width_of(bytes), kBar, css, fmt::format("{}: {:.2f} GB", css, bytes / 1e9));
      x += width_of(bytes);
    };
    part(bar.static_bytes, "static");
    part(bar.activation_bytes, "activation");
    part(bar.workspace_bytes, "workspace");
    const bool fits = needed(bar) <= bar.capacity_bytes;
    const double limit = kLeft + width_of(bar.capacity_bytes);
    svg.line(limit, top - 2, limit, top + kBar + 2, "limit");
    svg.text(std::max(x, limit) + 8, y + kRow / 2,
             fmt::format("{:.1f} of {:.1f} GB{}", needed(bar) / 1e9, bar.capacity_bytes / 1e9,
                         fits ? fmt::format(", {:.0f} % free", 100 * (1 - needed(bar) / bar.capacity_bytes))
                              : ": too much"),
             fits ? "label start" : "bad start");
    y += kRow;
  }
  return svg.element(kWidth, y + 4, "peak memory per device of each stage");
}

}  // namespace tessera::planner::tools
