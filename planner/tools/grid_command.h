/// tessera-plan grid: the comparison with the baselines over mixes of devices and sizes of models, as the
/// table in docs/results.md.
#pragma once

#include "planner/tools/command.h"

namespace tessera::planner::tools {

[[nodiscard]] Command add_grid_command(CLI::App& program);

}  // namespace tessera::planner::tools
