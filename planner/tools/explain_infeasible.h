/// Why no plan fits, in numbers: which layer is too large for the largest device, or by how much all devices
/// together are too small.
#pragma once

#include <string>
#include <vector>

#include "planner/cost/cost.h"

namespace tessera::planner::tools {

/// Looks at the most favourable division of each tensor-parallel degree: micro-batch 1, one layer per stage,
/// one micro-batch in flight, every device an owner of every layer. What does not fit then fits in no plan.
/// `degrees`: the tensor-parallel degrees searched. Returns lines of text, at most a screen.
[[nodiscard]] std::string explain_infeasible(const CostModel& cost, const std::vector<int>& degrees);

}  // namespace tessera::planner::tools
