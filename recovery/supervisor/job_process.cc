#include "recovery/supervisor/job_process.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "algos/base/durable_file.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
constexpr const char* kToken = "TESSERA_RUN_TOKEN";
// Leads the session, and leaves the launcher's exit code for whoever supervises then.
constexpr const char* kKeeper =
    R"("$@"; code=$?; echo "$code" >"$0/exit.part" && mv "$0/exit.part" "$0/exit")";
constexpr std::array<const char*, 6> kLaunchers = {"sh", "dash", "bash", "mpirun", "orterun", "orted"};

bool is_launcher(const FoundProcess& process) {
  return std::ranges::find(kLaunchers, process.program) != kLaunchers.end();
}

}  // namespace

std::string JobProcess::scratch() const { return "/tmp/tessera-" + token_; }

Status JobProcess::start(const std::vector<std::string>& argv, const Environment& environment, bool local) {
  std::error_code error;
  fs::remove_all(folder_, error);
  fs::create_directories(heartbeats(), error);
  if (error) return write_failure(folder_, "a directory for the job's processes", error);
  Launch request;
  request.argv = {"/bin/sh", "-c", kKeeper, folder_};
  request.argv.insert(request.argv.end(), argv.begin(), argv.end());
  request.environment = environment;
  request.environment.emplace_back(kToken, token_);
  request.environment.emplace_back("TESSERA_HEARTBEAT_DIR", heartbeats());
  if (local) {
    // What a killed launcher leaves behind is then in one place.
    fs::create_directories(scratch(), error);
    fs::create_directories("/dev/shm/tessera-" + token_, error);
    request.environment.emplace_back("OMPI_MCA_orte_tmpdir_base", scratch());
    request.environment.emplace_back("OMPI_MCA_btl_vader_backing_directory", "/dev/shm/tessera-" + token_);
  }
  request.output = log();
  request.own_session = true;
  TS_TRY(write_durably(folder_ + "/command.txt", fmt::format("{}\n", fmt::join(argv, " "))));
  keeper_ = TS_TRY(launch(request));
  return {};
}

void JobProcess::signal_launcher(int signal) const {
  const std::vector<FoundProcess> all = processes();
  const auto keeper = std::ranges::find_if(all, &FoundProcess::leads_session);
  if (keeper == all.end()) return;
  for (const FoundProcess& process : all) {
    if (process.parent == keeper->pid) kill(process.pid, signal);
  }
}

void JobProcess::end(bool gently) const {
  if (gently) return signal_launcher(SIGTERM);
  for (const FoundProcess& process : processes()) kill(process.pid, SIGKILL);
}

std::vector<FoundProcess> JobProcess::processes() const { return find_processes(kToken, token_); }

bool JobProcess::only_launchers(const std::vector<FoundProcess>& processes) {
  return std::ranges::all_of(processes, is_launcher);
}

std::optional<int> JobProcess::exit_code() const {
  std::ifstream file(folder_ + "/exit");
  int code = 0;
  if (file >> code) return code;
  return std::nullopt;
}

void JobProcess::clean_up() const {
  if (keeper_ > 0) waitpid(keeper_, nullptr, WNOHANG);
  std::error_code ignored;
  fs::remove_all(scratch(), ignored);
  fs::remove_all("/dev/shm/tessera-" + token_, ignored);
}

}  // namespace tessera::recovery
