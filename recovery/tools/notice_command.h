/// tessera-run notice: tells the supervisor that a node will be taken away, or is back.
#pragma once

#include "algos/tools/command.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_notice_command(CLI::App& program);

}  // namespace tessera::recovery::tools
