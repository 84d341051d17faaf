/// The processes of one start of the job: launched so that they outlive the supervisor, found again by a
/// token, ended for certain. No two starts ever live at once: a start is known to have ended only when no
/// process of this machine carries its token any more.
///
///   <folder>/log.txt   what the processes print        <folder>/exit        the launcher's exit code
///   <folder>/heartbeats/                               <folder>/command.txt what was started
///
/// On other machines processes end with the launcher's connection to them.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/supervisor/processes.h"

namespace tessera::recovery {

class JobProcess {
 public:
  /// Of a start that this or an earlier supervisor made. Nothing happens yet.
  JobProcess(std::string folder, std::string token) : folder_(std::move(folder)), token_(std::move(token)) {}

  /// `local`: every process is on this machine, where its scratch files go as well.
  [[nodiscard]] Status start(const std::vector<std::string>& argv, const Environment& environment,
                             bool local);

  /// Passed on to every rank by the launcher.
  void signal_launcher(int signal) const;
  /// SIGKILL to all. `gently`: SIGTERM to the launcher, which ends what it has on other machines.
  void end(bool gently) const;
  /// Living processes of this start.
  [[nodiscard]] std::vector<FoundProcess> processes() const;
  /// Whether only launchers are left of them: Open MPI 4.1's mpirun at times hangs when its last rank is
  /// gone.
  [[nodiscard]] static bool only_launchers(const std::vector<FoundProcess>& processes);
  /// The launcher's, once it has ended on its own account.
  [[nodiscard]] std::optional<int> exit_code() const;
  /// After the end: removes scratch files, collects the zombie.
  void clean_up() const;

  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] std::string heartbeats() const { return folder_ + "/heartbeats"; }
  [[nodiscard]] std::string log() const { return folder_ + "/log.txt"; }

 private:
  [[nodiscard]] std::string scratch() const;
  std::string folder_;
  std::string token_;
  pid_t keeper_ = 0;  // a child of this process, if it made this start
};

}  // namespace tessera::recovery
