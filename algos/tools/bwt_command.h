/// tessera-algos bwt: Burrows-Wheeler transform of bytes, and back.
#pragma once

#include "algos/tools/command.h"

namespace tessera::tools {

Command add_bwt_command(CLI::App& program);

}  // namespace tessera::tools
