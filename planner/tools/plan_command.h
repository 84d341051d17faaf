/// tessera-plan plan: the best plan for a model on a cluster, explained.
#pragma once

#include "planner/tools/command.h"

namespace tessera::planner::tools {

[[nodiscard]] Command add_plan_command(CLI::App& program);

}  // namespace tessera::planner::tools
