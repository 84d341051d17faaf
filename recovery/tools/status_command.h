/// tessera-run status: what the job, its nodes and its ranks are doing.
#pragma once

#include "algos/tools/command.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_status_command(CLI::App& program);

}  // namespace tessera::recovery::tools
