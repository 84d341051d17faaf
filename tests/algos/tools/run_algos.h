/// tessera-algos as a shell runs it. TESSERA_ALGOS is its path (CMakeLists.txt).
#pragma once

#include <string>

#include "tests/support/run_shell.h"

namespace tessera::tools {

using test::Outcome;

/// `before` stands in front of the program: "cat file | ". What it prints has standard error in it.
inline Outcome algos(const std::string& arguments, const std::string& before = "") {
  return test::run_shell(before + TESSERA_ALGOS + " " + arguments + " 2>&1");
}

}  // namespace tessera::tools
