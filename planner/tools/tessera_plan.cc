/// tessera-plan: what a set of devices could do, at what cost, without owning it.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "planner/tools/check_command.h"
#include "planner/tools/command.h"
#include "planner/tools/evaluate_command.h"
#include "planner/tools/grid_command.h"
#include "planner/tools/plan_command.h"

namespace tessera::planner::tools {
namespace {

constexpr int kExitSystem = 1;
constexpr int kExitUser = 2;

int main_of(int argc, char** argv) {
  CLI::App app("Plans training on mixed devices, predicts it, and explains what it costs.", "tessera-plan");
  app.set_version_flag("--version", std::string("tessera-plan ") + TESSERA_VERSION);
  app.require_subcommand(1);
  app.footer("Exit status: 0 success, 1 system failure, 2 wrong input or no plan.");
  const std::vector<Command> commands = {
      add_plan_command(app),
      add_evaluate_command(app),
      add_check_command(app),
      add_grid_command(app),
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
}  // namespace tessera::planner::tools

int main(int argc, char** argv) {
  try {
    return tessera::planner::tools::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
