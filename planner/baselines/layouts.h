/// The ways in which a list of devices becomes groups of equally deep pipelines.
#pragma once

#include <vector>

#include "planner/cost/cost.h"

namespace tessera::planner {

/// The devices of one stage: consecutive ones of one node.
struct Unit {
  int node = 0;
  int first_device = 0;
  DeviceClass device;
};

/// Lists of all units of `devices` devices each, node by node, one list per choice of device classes to use
/// (all of them without `idle_types`) and per order of them. With more than four classes in a choice, only
/// the orders by rising and falling FLOPS and memory; with more than six classes in the cluster, only all of
/// them or one.
[[nodiscard]] std::vector<std::vector<Unit>> unit_lists(const CostModel& cost, int devices,
                                                        bool idle_types = true);

/// groups * depth units of the list, from its start. stages_outer: unit (group g, stage s) is list[s * groups
/// + g]; else list[g * depth + s].
[[nodiscard]] std::vector<std::vector<Unit>> place(const std::vector<Unit>& list, int groups, int depth,
                                                   bool stages_outer);

}  // namespace tessera::planner
