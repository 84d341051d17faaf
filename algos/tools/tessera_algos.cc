/// tessera-algos: the auxiliary algorithms from a shell, one sub-command each.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "algos/tools/bwt_command.h"
#include "algos/tools/command.h"
#include "algos/tools/knapsack_command.h"
#include "algos/tools/kserver_command.h"
#include "algos/tools/lyndon_command.h"
#include "algos/tools/ttl_command.h"

namespace tessera::tools {
static int main_of(int argc, char** argv) {
  CLI::App app("Tessera's auxiliary algorithms.", "tessera-algos");
  app.set_version_flag("--version", std::string("tessera-algos ") + TESSERA_VERSION);
  app.require_subcommand(1);
  app.footer("Exit status: 0 success, 1 system failure, 2 wrong input.");
  const std::vector<Command> commands = {
      add_bwt_command(app),    add_knapsack_command(app), add_kserver_command(app),
      add_lyndon_command(app), add_ttl_command(app),
  };
  return tessera::tools::run_commands(app, commands, argc, argv);
}

}  // namespace tessera::tools

int main(int argc, char** argv) { return tessera::tools::main_of(argc, argv); }
