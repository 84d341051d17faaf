/// tessera-profile: measures layers, links and collectives of the machine it runs on, for the planner.
///
///   mpirun -np 8 tessera-profile --model config.json --out profile.json
///   tessera-profile --local-ranks 4 --model config.json --out profile.json     ranks as threads
///
/// All ranks measure at the same time, as they compute at the same time in training. Exit codes as
/// tessera-train's.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "kernels/device/thread_pool.h"
#include "planner/spec/model_spec.h"
#include "runtime/comm/local_comm.h"
#include "runtime/profile/machine_profile.h"
#include "runtime/tools/program.h"
#include "runtime/train/agree.h"
#ifdef TESSERA_WITH_MPI
#include "runtime/comm/mpi_comm.h"
#endif

namespace tessera::runtime {
namespace {

struct Options {
  ProfileQuestion question;
  std::string model;
  std::vector<std::string> recompute = {"none", "selective", "full"};
  std::string out;
  int local_ranks = 0;
  bool no_links = false;
  bool busy_wait = false;
};

bool under_launcher() {
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (size == nullptr) size = std::getenv("PMI_SIZE");
  return size != nullptr || std::getenv("PMIX_RANK") != nullptr;
}

void declare(CLI::App& app, Options& options) {
  ProfileQuestion& q = options.question;
  app.add_option("--model", options.model, "config.json of a LlamaForCausalLM, or a directory with one")
      ->required()
      ->type_name("PATH");
  app.add_option("--out", options.out, "profile.json to write")->required()->type_name("FILE");
  app.add_option("--device", q.device, "what cluster.json calls the device of a rank")->capture_default_str();
  app.add_option("--sequence-length", q.sequence_length, "tokens")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--tensor-parallel", q.tensor_parallel, "degrees, a list")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option("--micro-batch", q.micro_batch, "sizes, a list")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--recompute", options.recompute, "modes, a list of none, selective, full")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "selective", "full"}))
      ->capture_default_str();
  app.add_option("--threads", q.threads, "per rank")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--rounds", q.rounds, "of each measurement")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--round-seconds", q.round_s, "least length of a round of layer passes")
      ->check(CLI::Range(0.001, 600.0))
      ->capture_default_str();
  app.add_option("--speed", q.speed,
                 "pause after each pass until that slow; the times are still those of full speed")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  app.add_flag("--no-links", options.no_links, "layers alone");
  app.add_flag("--plays-nodes", q.plays_nodes,
               "one host plays several nodes: links and collectives inside it count between nodes too");
  app.add_flag("--busy-wait", options.busy_wait, "waiting ranks keep their cores, as with tessera-train");
  app.add_option("--local-ranks", options.local_ranks, "ranks as threads of this process")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.footer(
      "  scripts/launch/local.sh -np 4 tessera-profile --model config.json --device \"CPU core\" \\\n"
      "      --tensor-parallel 1,2 --micro-batch 1,2,4 --out profile.json");
}

/// parse_arguments on the ranks that do not speak.
[[maybe_unused]] std::optional<int> parse_silently(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success&) {
    return kExitDone;
  } catch (const CLI::ParseError&) {
    return kExitUserError;
  }
  return std::nullopt;
}

int run_rank(Communicator& world, Options options) {
  const auto body = [&]() -> Status {
    const bool directory = std::filesystem::is_directory(options.model);
    ProfileQuestion& question = options.question;
    const Result<planner::ModelSpec> model =
        planner::read_model_spec(directory ? options.model + "/config.json" : options.model);
    TS_TRY(agree(world, model.ok() ? Status() : model.status()));
    question.model = model.value();
    question.links = !options.no_links;
    question.recompute.clear();
    for (const planner::Recompute mode :
         {planner::Recompute::kNone, planner::Recompute::kSelective, planner::Recompute::kFull}) {
      const auto same = [&](const std::string& text) { return text == planner::recompute_name(mode); };
      if (std::ranges::any_of(options.recompute, same)) question.recompute.push_back(mode);
    }
    // A list that names a value twice means it once: profile.json has one row for it.
    const auto unique = [](auto& list) {
      std::ranges::sort(list);
      list.erase(std::ranges::unique(list).begin(), list.end());
    };
    unique(question.tensor_parallel);
    unique(question.micro_batch);
    world.set_busy_wait(options.busy_wait);
    kernels::ThreadPool pool(question.threads);
    const kernels::ScopedPool installed(pool);
    const MachineProfile found = TS_TRY(profile_machine(world, question, SystemClock()));
    Status written;
    if (world.rank() == Rank(0)) {
      written = write_durably(options.out, planner::to_profile_json(found.profile));
      if (written.ok()) {
        std::cout << fmt::format("{} ranks measured at the same time\n", world.size())
                  << to_text(found.measurements) << "wrote " << options.out << "\n"
                  << std::flush;
      }
    }
    return agree(world, written);
  };
  const Status status = body();
  if (status.ok()) return kExitDone;
  if (world.rank() == Rank(0)) print_error(status);
  return exit_code(status);
}

int tessera_profile(int argc, char** argv) {
  CLI::App app("Measures layers, links and collectives of the machine it runs on and writes profile.json.",
               "tessera-profile");
  app.set_version_flag("--version", std::string("tessera-profile ") + TESSERA_VERSION);
  Options options;
  declare(app, options);
#ifdef TESSERA_WITH_MPI
  if (under_launcher()) {
    const MpiEnvironment environment(argc, argv);
    const std::unique_ptr<Communicator> world = make_mpi_world();
    if (const auto answer =
            world->rank() == Rank(0) ? parse_arguments(app, argc, argv) : parse_silently(app, argc, argv)) {
      return *answer;
    }
    try {
      return run_rank(*world, options);
    } catch (const std::exception& e) {
      world->abort(fmt::format("rank {}: {}", world->rank().value, e.what()));
    }
    return kExitFailed;
  }
#endif
  if (const auto answer = parse_arguments(app, argc, argv)) return *answer;
  int code = kExitFailed;
  run_local_ranks(std::max(options.local_ranks, 1), [&](Communicator& world) {
    const int mine = run_rank(world, options);
    if (world.rank() == Rank(0)) code = mine;
  });
  return code;
}

}  // namespace
}  // namespace tessera::runtime

int main(int argc, char** argv) {
  return tessera::runtime::run_program(tessera::runtime::tessera_profile, argc, argv);
}
