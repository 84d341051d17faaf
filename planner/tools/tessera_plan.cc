/// tessera-plan: what a set of devices could do, at what cost, without owning it.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "planner/tools/check_command.h"
#include "planner/tools/command.h"
#include "planner/tools/evaluate_command.h"
#include "planner/tools/grid_command.h"
#include "planner/tools/plan_command.h"

namespace tessera::planner::tools {
static int main_of(int argc, char** argv) {
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
  return tessera::tools::run_commands(app, commands, argc, argv);
}

}  // namespace tessera::planner::tools

int main(int argc, char** argv) { return tessera::planner::tools::main_of(argc, argv); }
