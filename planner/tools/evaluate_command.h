/// tessera-plan evaluate: what a given plan would do, without searching.
#pragma once

#include "planner/tools/command.h"

namespace tessera::planner::tools {

[[nodiscard]] Command add_evaluate_command(CLI::App& program);

}  // namespace tessera::planner::tools
