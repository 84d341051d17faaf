/// tessera-algos ttl: balances that lapse, replayed from lines of operations; and what a ledger file holds.
#pragma once

#include "algos/tools/command.h"

namespace tessera::tools {

Command add_ttl_command(CLI::App& program);

}  // namespace tessera::tools
