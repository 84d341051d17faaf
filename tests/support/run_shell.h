/// A command as a shell runs it: what it printed and how it ended.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <sys/wait.h>

namespace tessera::test {

struct Outcome {
  int exit = -1;    // exit status; -1: could not be started, or ended by a signal
  std::string out;  // standard output; with " 2>&1" in the command, standard error too
};

inline Outcome run_shell(const std::string& command) {
  Outcome outcome;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  std::size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) outcome.out.append(buffer, got);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.exit = WEXITSTATUS(status);
  return outcome;
}

}  // namespace tessera::test
