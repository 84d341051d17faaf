/// tessera-run journal: every decision with its reason.
#pragma once

#include "algos/tools/command.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_journal_command(CLI::App& program);

}  // namespace tessera::recovery::tools
