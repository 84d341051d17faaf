/// tessera-algos kserver: who serves which request, offline at least cost or fairly, or online.
#pragma once

#include "algos/tools/command.h"

namespace tessera::tools {

Command add_kserver_command(CLI::App& program);

}  // namespace tessera::tools
