/// What a sub-command of tessera-algos is: its options, declared under the program, and what runs when
/// chosen.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"

namespace tessera::tools {

struct Command {
  CLI::App* app = nullptr;
  std::function<Status()> run;
};

}  // namespace tessera::tools
