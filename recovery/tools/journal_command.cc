#include "recovery/tools/journal_command.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "recovery/supervisor/journal.h"

namespace tessera::recovery::tools {

tessera::tools::Command add_journal_command(CLI::App& program) {
  struct Options {
    std::string state;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("journal", "every decision of the supervisor with its reason");
  app->add_option("--state", options->state, "the job's directory")->required()->type_name("DIR");
  app->add_flag("--json", options->json, "one JSON object per line");
  return {app, [options]() -> Status {
            for (const JournalEntry& entry : TS_TRY(read_journal(options->state + "/journal.jsonl"))) {
              fmt::print("{}", options->json ? to_json_line(entry) : to_text(entry) + "\n");
            }
            return {};
          }};
}

}  // namespace tessera::recovery::tools
