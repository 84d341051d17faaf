/// tessera-algos as a shell runs it. TESSERA_ALGOS is its path (CMakeLists.txt).
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <sys/wait.h>

namespace tessera::tools {

struct Outcome {
  int exit = -1;
  std::string out;  // with standard error
};

/// `before` stands in front of the program: "cat file | ".
inline Outcome algos(const std::string& arguments, const std::string& before = "") {
  std::FILE* pipe = popen((before + TESSERA_ALGOS + " " + arguments + " 2>&1").c_str(), "r");
  Outcome outcome;
  char buffer[4096];
  std::size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) outcome.out.append(buffer, got);
  const int status = pclose(pipe);
  outcome.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

}  // namespace tessera::tools
