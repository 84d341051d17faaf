/// Processes of this machine: started, waited for without blocking, found again by a mark in their
/// environment. Linux.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "algos/base/status.h"

namespace tessera::recovery {

using Environment = std::vector<std::pair<std::string, std::string>>;

struct Launch {
  std::vector<std::string> argv;  // argv[0] is looked for in PATH
  Environment environment;        // beside what this process has
  std::string output;             // file that standard output and error are appended to
  bool own_session = false;       // outlives this process and its terminal
  int nice = 0;
};

/// Errors    kIoError: the system has no room for a process. That a program is not there is its exit code
/// 127.
[[nodiscard]] Result<pid_t> launch(const Launch& request);

/// A child's exit code, 128 + signal where one ended it; nullopt while it runs. Never blocks.
[[nodiscard]] std::optional<int> exit_code_of(pid_t child);

/// One more child that is to end before `seconds` are over.
class Child {
 public:
  Child(pid_t pid, double deadline) : pid_(pid), deadline_(deadline) {}
  /// The exit code once it has ended; killed, and 124, after its deadline. `now` in seconds, any origin.
  [[nodiscard]] std::optional<int> poll(double now);
  /// Kills it and collects it.
  void end() const;

 private:
  pid_t pid_;
  double deadline_;
};

/// Whether a process of this machine runs or is stopped; a zombie does neither.
[[nodiscard]] bool process_lives(std::int64_t pid);

struct FoundProcess {
  pid_t pid = 0;
  pid_t parent = 0;
  bool leads_session = false;
  char state = 0;       // as ps shows it: R, S, D, T, Z ...
  std::string program;  // as the kernel calls it, at most 15 characters
};
/// Living processes whose environment has NAME=VALUE; zombies have none.
[[nodiscard]] std::vector<FoundProcess> find_processes(const std::string& name, const std::string& value);

}  // namespace tessera::recovery
