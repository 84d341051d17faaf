#include "recovery/supervisor/processes.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

extern char** environ;

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
constexpr int kNotFound = 127;  // as shells say it
constexpr int kTimedOut = 124;  // as timeout(1) says it

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> whole_environment(const Environment& added) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto replaced = [&](const auto& pair) { return text.substr(0, text.find('=')) == pair.first; };
    if (std::ranges::none_of(added, replaced)) all.emplace_back(text);
  }
  for (const auto& [name, value] : added) all.push_back(name + "=" + value);
  return all;
}

/// In the child: async-signal-safe calls only.
[[noreturn]] void become(const Launch& request, int output, char* const* argv, char* const* environment) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (request.own_session) setsid();
  if (request.nice != 0) setpriority(PRIO_PROCESS, 0, request.nice);
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execvpe(argv[0], argv, environment);
  _exit(kNotFound);
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// "pid (name) state parent group session ...": the name may hold anything but ends at the last ")".
std::optional<FoundProcess> parse_stat(pid_t pid, const std::string& stat) {
  const std::size_t open = stat.find('(');
  const std::size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  FoundProcess found;
  found.pid = pid;
  found.program = stat.substr(open + 1, close - open - 1);
  int group = 0;
  int session = 0;
  if (std::sscanf(stat.c_str() + close + 1, " %c %d %d %d", &found.state, &found.parent, &group, &session) !=
      4) {
    return std::nullopt;
  }
  found.leads_session = session == pid;
  return found;
}

}  // namespace

Result<pid_t> launch(const Launch& request) {
  std::vector<std::string> arguments = request.argv;
  std::vector<std::string> variables = whole_environment(request.environment);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> environment = pointers(variables);
  const std::string path = request.output.empty() ? "/dev/null" : request.output;
  const int output = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) return Status(Code::kIoError, fmt::format("{}: {}", path, std::strerror(errno)));
  const pid_t pid = fork();
  if (pid == 0) become(request, output, argv.data(), environment.data());
  const int error = errno;
  close(output);
  if (pid < 0)
    return Status(Code::kIoError, fmt::format("{}: {}", request.argv.front(), std::strerror(error)));
  return pid;
}

std::optional<int> exit_code_of(pid_t child) {
  int status = 0;
  const pid_t got = waitpid(child, &status, WNOHANG);
  if (got == 0) return std::nullopt;
  if (got < 0) return kNotFound;  // no child of this process
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::optional<int> Child::poll(double now) {
  if (const auto code = exit_code_of(pid_)) return code;
  if (now < deadline_) return std::nullopt;
  end();
  return kTimedOut;
}

void Child::end() const {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool process_lives(std::int64_t pid) {
  const auto found = parse_stat(static_cast<pid_t>(pid), read_all(fmt::format("/proc/{}/stat", pid)));
  return found && found->state != 'Z' && found->state != 'X';
}

std::vector<FoundProcess> find_processes(const std::string& name, const std::string& value) {
  const std::string wanted = name + "=" + value;
  std::vector<FoundProcess> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string text = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (bad != std::errc() || end != text.data() + text.size()) continue;
    const std::string environment = read_all(entry.path().string() + "/environ");
    const std::size_t at = environment.find(wanted);
    const bool begins = at == 0 || (at != std::string::npos && environment[at - 1] == '\0');
    if (!begins || environment.c_str() + at != std::string_view(wanted)) continue;
    if (auto process = parse_stat(pid, read_all(entry.path().string() + "/stat"))) {
      found.push_back(std::move(*process));
    }
  }
  return found;
}

}  // namespace tessera::recovery
