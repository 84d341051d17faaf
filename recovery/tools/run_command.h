/// the command itself: keeps a job alive until it is done.
#pragma once

#include "algos/tools/command.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_run_command(CLI::App& program);

}  // namespace tessera::recovery::tools
