/// tessera-train: trains a Llama-type model on the ranks it is started with.
///
///   mpirun -np 4 tessera-train --config train.json --mesh 2x2      a rank per process
///   tessera-train --local-ranks 4 --config train.json              ranks as threads of this process
///
/// Exit code 0: done, or stopped by SIGTERM, SIGINT or SIGUSR1 with the state saved. 2: for the user to put
/// right, told once: wrong input, and nothing was written; or a full disk. 1: it failed while running.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "planner/spec/train_spec.h"
#include "runtime/comm/local_comm.h"
#include "runtime/tools/program.h"
#include "runtime/train/stop_signal.h"
#include "runtime/train/train_loop.h"
#ifdef TESSERA_WITH_MPI
#include "runtime/comm/mpi_comm.h"
#endif

namespace tessera::runtime {
namespace {

/// What the command line asks for. Every rank parses the same one; rank 0 speaks.
struct Request {
  planner::TrainSpec spec;
  int local_ranks = 0;  // 0: the launcher's processes
  bool json = false;
  std::string answer;  // of --help or --version
  Status status;
};

Status unknown_argument(const std::string& argument) {
  std::string name = argument.substr(0, argument.find('='));
  name.erase(0, name.find_first_not_of('-'));
  for (char& c : name) c = c == '-' ? '_' : c;
  std::string remedy = "tessera-train --help lists the flags";
  for (const planner::TrainOption& option : planner::train_options()) {
    if (option.name == planner::nearest_train_option(name)) remedy = "did you mean " + option.flag() + "?";
  }
  return bad_input({"command line", "", argument, "a flag of tessera-train", remedy});
}

Request parse_command_line(int argc, char** argv) {
  Request request;
  CLI::App app(
      "Trains a Llama-type model with Mesh-Attention on the ranks it is started with.\n"
      "Every flag is also a field of the --config file, with _ for -; the flag has the last word.");
  app.set_help_flag("-h,--help", "this text");
  bool version = false;
  app.add_flag("--version", version, "print the version");
  app.add_flag("--json", request.json, "print the final report as one JSON object; other text to stderr");
  std::string config;
  app.add_option("--config", config, "train.json")->type_name("PATH");
  app.add_option("--local-ranks", request.local_ranks,
                 "ranks as threads of this process, instead of a launcher's processes")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");

  const auto& options = planner::train_options();
  std::vector<std::vector<std::string>> texts(options.size());
  for (std::size_t i = 0; i < options.size(); ++i) {
    const planner::TrainOption& option = options[i];
    const std::string fallback = option.default_value.empty() ? "" : "; default " + option.default_value;
    CLI::Option* flag =
        app.add_option(option.flag(), texts[i], option.help + " (" + option.range + fallback + ")");
    flag->group(option.group)->type_name("")->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (option.kind == planner::OptionKind::kList) {
      flag->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->expected(1, 1 << 20);
    } else {
      flag->expected(1);
    }
  }
  app.allow_extras();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    request.answer = app.help();
    return request;
  } catch (const CLI::ParseError& e) {
    request.status =
        bad_input({"command line", "", e.what(), "flags as tessera-train --help lists them", ""});
    return request;
  }
  if (version) {
    request.answer = fmt::format("tessera-train {}\n", TESSERA_VERSION);
    return request;
  }
  const auto fill = [&]() -> Status {
    if (!app.remaining().empty()) return unknown_argument(app.remaining().front());
    if (!config.empty()) TS_TRY(planner::read_train_spec(config, request.spec));
    for (std::size_t i = 0; i < options.size(); ++i) {
      if (app.count(options[i].flag()) == 0) continue;
      const std::string text = fmt::format("{}", fmt::join(texts[i], ","));
      TS_TRY(planner::set_train_option(request.spec, options[i].name, text, options[i].flag()));
    }
    return planner::check_train_spec(request.spec);
  };
  request.status = fill();
  return request;
}

/// A launcher has started several of this process.
bool under_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    const char* text = std::getenv(name);
    if (text != nullptr && (std::string(name) == "PMIX_RANK" || std::atoi(text) > 1)) return true;
  }
  return false;
}

/// Open MPI gives ranks a pseudo-terminal whatever mpirun writes to, so under a launcher only the launcher
/// knows: scripts/launch/local.sh sets TESSERA_TERMINAL when it is on one.
bool on_terminal(std::FILE* stream) {
  if (under_launcher()) return std::getenv("TESSERA_TERMINAL") != nullptr;
  return isatty(fileno(stream)) == 1;
}

Console make_console(const Request& request) {
  std::FILE* stream = request.json ? stderr : stdout;
  return {[stream](const std::string& text) {
            std::fwrite(text.data(), 1, text.size(), stream);
            std::fflush(stream);
          },
          on_terminal(stream)};
}

/// The same result on every rank; throws what `train` throws.
int run_rank(Communicator& world, const Request& request) {
  const bool speaks = world.rank() == Rank(0);
  if (!request.answer.empty()) {
    if (speaks) std::cout << request.answer << std::flush;
    return kExitDone;
  }
  Status status = request.status;
  if (status.ok()) {
    const Result<RunReport> report = train(world, request.spec, make_console(request), SystemClock());
    if (report.ok()) {
      if (speaks && request.json) std::cout << to_json(report.value()) << std::flush;
      return kExitDone;
    }
    status = report.status();
  }
  if (speaks) print_error(status);
  return exit_code(status);
}

int run_threads(int ranks, const Request& request) {
  int code = kExitFailed;
  run_local_ranks(ranks, [&](Communicator& world) {
    const int mine = run_rank(world, request);
    if (world.rank() == Rank(0)) code = mine;
  });
  return code;
}

#ifdef TESSERA_WITH_MPI
int run_processes(int argc, char** argv, const Request& request) {
  const MpiEnvironment environment(argc, argv);
  const std::unique_ptr<Communicator> world = make_mpi_world();
  try {
    return run_rank(*world, request);
  } catch (const std::exception& e) {
    world->abort(fmt::format("rank {}: {}", world->rank().value, e.what()));
  }
  return kExitFailed;
}
#endif

int tessera_train(int argc, char** argv) {
  const StopSignals signals;
  Request request = parse_command_line(argc, argv);
#ifdef TESSERA_WITH_MPI
  if (under_launcher() || (request.local_ranks == 0 && request.answer.empty() && request.status.ok())) {
    if (request.local_ranks > 0 && request.status.ok() && request.answer.empty()) {
      request.status =
          bad_input({"--local-ranks", "", fmt::format("{} under a launcher", request.local_ranks),
                     "ranks as processes or ranks as threads, not both",
                     "leave out --local-ranks, or start the program without mpirun"});
    }
    return run_processes(argc, argv, request);
  }
#else
  if (under_launcher() && request.status.ok() && request.answer.empty()) {
    request.status = bad_input({"mpirun", "", "a program built without MPI", "a build with TESSERA_MPI=ON",
                                "build with cmake --preset mpi, or use --local-ranks N"});
  }
#endif
  const bool only_speaks = !request.answer.empty() || !request.status.ok();
  return run_threads(only_speaks ? 1 : std::max(request.local_ranks, 1), request);
}

}  // namespace
}  // namespace tessera::runtime

int main(int argc, char** argv) {
  return tessera::runtime::run_program(tessera::runtime::tessera_train, argc, argv);
}
