/// tessera-run: a training job that goes on whatever happens to its machines.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "recovery/tools/agent_command.h"
#include "recovery/tools/journal_command.h"
#include "recovery/tools/notice_command.h"
#include "recovery/tools/run_command.h"
#include "recovery/tools/status_command.h"

namespace tessera::recovery::tools {
static int main_of(int argc, char** argv) {
  CLI::App app(
      "Keeps a training job alive: plans it, starts it, notices dead and hung ranks and preemptions, and "
      "goes on\n"
      "with a plan for what is left.",
      "tessera-run");
  app.set_version_flag("--version", std::string("tessera-run ") + TESSERA_VERSION);
  const std::vector<tessera::tools::Command> commands = {
      add_status_command(app), add_journal_command(app), add_notice_command(app), add_agent_command(app),
      add_run_command(app),  // last: the program itself, where no sub-command was chosen
  };
  return tessera::tools::run_commands(app, commands, argc, argv);
}

}  // namespace tessera::recovery::tools

int main(int argc, char** argv) { return tessera::recovery::tools::main_of(argc, argv); }
