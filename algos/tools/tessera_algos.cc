/// tessera-algos: the auxiliary algorithms from a shell, one sub-command each.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "algos/tools/bwt_command.h"
#include "algos/tools/command.h"
#include "algos/tools/knapsack_command.h"
#include "algos/tools/kserver_command.h"
#include "algos/tools/lyndon_command.h"
#include "algos/tools/ttl_command.h"

namespace tessera::tools {
namespace {

constexpr int kExitSystem = 1;
constexpr int kExitUser = 2;

int main_of(int argc, char** argv) {
  CLI::App app("Tessera's auxiliary algorithms.", "tessera-algos");
  app.set_version_flag("--version", std::string("tessera-algos ") + TESSERA_VERSION);
  app.require_subcommand(1);
  app.footer("Exit status: 0 success, 1 system failure, 2 wrong input.");
  const std::vector<Command> commands = {
      add_bwt_command(app),    add_knapsack_command(app), add_kserver_command(app),
      add_lyndon_command(app), add_ttl_command(app),
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUser;
  }
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
}  // namespace tessera::tools

int main(int argc, char** argv) {
  try {
    return tessera::tools::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
