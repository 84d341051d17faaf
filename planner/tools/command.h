/// What a sub-command of tessera-plan is: its options, declared under the program, and what runs when chosen.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"

namespace tessera::planner::tools {

struct Command {
  CLI::App* app = nullptr;
  std::function<Status()> run;
};

}  // namespace tessera::planner::tools
