/// tessera-algos lyndon: Lyndon array and factors, least rotation and cyclic period of bytes.
#pragma once

#include "algos/tools/command.h"

namespace tessera::tools {

Command add_lyndon_command(CLI::App& program);

}  // namespace tessera::tools
