/// tessera-plan check: judges a plan, whoever made it, against its model, cluster and training run.
#pragma once

#include "planner/tools/command.h"

namespace tessera::planner::tools {

[[nodiscard]] Command add_check_command(CLI::App& program);

}  // namespace tessera::planner::tools
