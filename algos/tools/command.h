/// Programs of sub-commands: tessera-algos, tessera-plan. A sub-command is its options, declared under the
/// program, and what runs when chosen.
#pragma once

#include <functional>
#include <span>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"

namespace tessera::tools {

struct Command {
  CLI::App* app = nullptr;
  std::function<Status()> run;
};

/// main() of a program named `app`: parses, runs the chosen command, prints what it complains of.
/// Returns 0 for success, 1 for a failure of the system or an exception, 2 for wrong input.
[[nodiscard]] int run_commands(CLI::App& app, std::span<const Command> commands, int argc, char** argv);

}  // namespace tessera::tools
