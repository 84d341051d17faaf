/// The units of a cluster for one stage shape: classes of equal devices, and the cells that make them up.
///
/// A cell is t devices of one node; a unit is C cells of one class, taken in the order of the nodes so that
/// most units stay inside one. Devices that fill no cell, and cells that fill no unit, stay idle.
#pragma once

#include <vector>

#include "planner/cost/cost.h"
#include "planner/plan/plan.h"

namespace tessera::planner {

struct Unit {
  std::vector<DeviceSlot> devices;  // C * t, in rank order
  [[nodiscard]] int node() const { return devices.front().node; }
};

struct UnitClass {
  DeviceClass device;
  std::vector<Unit> units;  // at least one, by node
};

[[nodiscard]] std::vector<UnitClass> unit_classes(const CostModel& cost, const StageShape& shape);

}  // namespace tessera::planner
