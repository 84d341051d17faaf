/// tessera-run agent: runs on a node and passes on what its cloud announces.
#pragma once

#include "algos/tools/command.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_agent_command(CLI::App& program);

}  // namespace tessera::recovery::tools
