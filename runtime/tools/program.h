/// What every program here does around its work: arguments, last words, exit code.
#pragma once

#include <optional>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"

namespace tessera::runtime {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;  // it failed while running
inline constexpr int kExitUserError =
    2;  // for the user to put right: wrong input, damaged files, a full disk

[[nodiscard]] int exit_code(const Status& status);
/// One screen on standard error.
void print_error(const Status& status);

/// Nothing: go on. Else --help, --version or an error was printed, and this is the exit code.
[[nodiscard]] std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv);

/// main(): what `body` returns, or 1 with the message of what it throws. A file-size limit answers a write
/// with an error, as a full disk does, instead of ending the process.
int run_program(int (*body)(int, char**), int argc, char** argv);

}  // namespace tessera::runtime
