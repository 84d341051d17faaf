#include "algos/tools/command.h"

#include <cstdio>
#include <exception>

#include <fmt/format.h>

namespace tessera::tools {
namespace {

constexpr int kExitSystem = 1;
constexpr int kExitUser = 2;

int run_chosen(std::span<const Command> commands) {
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const Status status = command.run();
    if (status.ok()) continue;
    fmt::print(stderr, "error: {}\n", status.message());
    const bool system = status.code() == Code::kIoError || status.code() == Code::kResourceExhausted ||
                        status.code() == Code::kInternal;
    return system ? kExitSystem : kExitUser;
  }
  if (std::fflush(stdout) != 0) {
    fmt::print(stderr, "error: standard output could not be written\n");
    return kExitSystem;
  }
  return 0;
}

}  // namespace

int run_commands(CLI::App& app, std::span<const Command> commands, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return run_chosen(commands);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUser;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return kExitSystem;
  }
}

}  // namespace tessera::tools
