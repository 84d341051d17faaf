#include "planner/search/unit_pool.h"

#include <algorithm>
#include <map>

namespace tessera::planner {

std::vector<UnitClass> unit_classes(const CostModel& cost, const StageShape& shape) {
  const auto& nodes = cost.cluster().nodes;
  const int cells = shape.context.ranks();
  std::map<DeviceClass, std::vector<DeviceSlot>> free;  // whole cells, by class
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    auto& slots = free[cost.device_class(static_cast<int>(n))];
    const int used = nodes[n].devices - nodes[n].devices % shape.tensor_parallel;
    for (int device = 0; device < used; ++device) slots.push_back({static_cast<int>(n), device});
  }
  std::vector<UnitClass> classes;
  const auto size = static_cast<std::size_t>(cells) * static_cast<std::size_t>(shape.tensor_parallel);
  for (const auto& [device, slots] : free) {
    UnitClass found{device, {}};
    for (std::size_t at = 0; at + size <= slots.size(); at += size) {
      Unit unit;
      unit.devices.assign(slots.begin() + static_cast<std::ptrdiff_t>(at),
                          slots.begin() + static_cast<std::ptrdiff_t>(at + size));
      found.units.push_back(std::move(unit));
    }
    if (!found.units.empty()) classes.push_back(std::move(found));
  }
  return classes;
}

}  // namespace tessera::planner
