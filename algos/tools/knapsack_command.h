/// tessera-algos knapsack solve|xdp: which items fit a capacity best.
#pragma once

#include "algos/tools/command.h"

namespace tessera::tools {

Command add_knapsack_command(CLI::App& program);

}  // namespace tessera::tools
