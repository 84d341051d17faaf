#include "runtime/tools/program.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace tessera::runtime {

int exit_code(const Status& status) {
  switch (status.code()) {
    case Code::kOk: return kExitDone;
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kDataLoss:
    case Code::kResourceExhausted: return kExitUserError;
    default: return kExitFailed;
  }
}

void print_error(const Status& status) { fmt::print(stderr, "error: {}\n", status.message()); }

std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& answer) {  // --help, --version
    app.exit(answer);
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    print_error(bad_input({"command line", "", unknown.empty() ? error.what() : unknown.front(),
                           "arguments as " + app.get_name() + " --help lists them", ""}));
    return kExitUserError;
  }
  return std::nullopt;
}

int run_program(int (*body)(int, char**), int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return body(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return kExitFailed;
  }
}

}  // namespace tessera::runtime
