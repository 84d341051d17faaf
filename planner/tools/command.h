/// A sub-command of tessera-plan.
#pragma once

#include "algos/tools/command.h"

namespace tessera::planner::tools {

using ::tessera::tools::Command;

}  // namespace tessera::planner::tools
