/// The S3 server of the tests with the fault proxy in front of it, as processes that end with this one.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "recovery/store/object_store.h"

namespace tessera::recovery {

/// A program whose lines are read and that is told lines.
class LineProcess {
 public:
  explicit LineProcess(std::vector<std::string> command) {
    int to[2];
    int from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) std::abort();
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(to[0], 0);
      ::dup2(from[1], 1);
      for (const int fd : {to[0], to[1], from[0], from[1]}) ::close(fd);
      std::vector<char*> words;
      for (std::string& word : command) words.push_back(word.data());
      words.push_back(nullptr);
      ::execv(words[0], words.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    to_ = ::fdopen(to[1], "w");
    from_ = ::fdopen(from[0], "r");
  }
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;
  ~LineProcess() {
    std::fclose(to_);
    std::fclose(from_);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  /// "" when the program has ended.
  std::string read_line() {
    std::string line;
    for (int c = std::fgetc(from_); c != EOF && c != '\n'; c = std::fgetc(from_))
      line += static_cast<char>(c);
    return line;
  }
  std::string ask(const std::string& line) {
    std::fprintf(to_, "%s\n", line.c_str());
    std::fflush(to_);
    return read_line();
  }
  /// The number of its first line, "port N"; 0 when it has not come up.
  int port() {
    const std::string line = read_line();
    return line.starts_with("port ") ? std::atoi(line.c_str() + 5) : 0;
  }

 private:
  pid_t process_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

inline constexpr const char* kBucket = "tessera-test";
inline constexpr const char* kAccessKeyId = "AKIATESSERATEST";
inline constexpr const char* kSecretAccessKey = "SeCrEt+KeY/of/the/tests=";
inline constexpr const char* kSessionToken = "SeSsIoN//ToKeN+of+the+tests==";

/// One server and one proxy for a test program. Where the server is not installed the program ends with 77,
/// which ctest counts as skipped.
class S3Server : public ::testing::Environment {
 public:
  void SetUp() override {
    const std::string python = TESSERA_S3_PYTHON;
    if (::access(python.c_str(), X_OK) != 0) {
      std::cout << "skipped: no S3 server, there is no " << python
                << "; tests/recovery/store/make_s3_venv installs it where a package index can be reached\n";
      std::exit(77);
    }
    ::setenv("NO_PROXY", "*", 1);  // what the machine sends through a proxy is not this
    const std::string folder = TESSERA_S3_SCRIPTS;
    server_ =
        std::make_unique<LineProcess>(std::vector<std::string>{python, folder + "/s3_server.py", kBucket});
    server_port_ = server_->port();
    ASSERT_GT(server_port_, 0) << "the S3 server did not start";
    proxy_ = start_proxy({});
    port_ = proxy_->port();
    ASSERT_GT(port_, 0) << "the fault proxy did not start";
  }
  void TearDown() override {
    proxy_.reset();
    server_.reset();
  }

  /// Another proxy, with HTTPS where files are named.
  [[nodiscard]] std::unique_ptr<LineProcess> start_proxy(
      const std::vector<std::string>& certificate_and_key) const {
    std::vector<std::string> command = {TESSERA_S3_PYTHON, TESSERA_S3_SCRIPTS "/fault_proxy.py",
                                        std::to_string(server_port_), kAccessKeyId, kSecretAccessKey};
    command.insert(command.end(), certificate_and_key.begin(), certificate_and_key.end());
    return std::make_unique<LineProcess>(command);
  }
  /// To the proxy: fault_proxy.py lists the commands.
  void tell(const std::string& command) { ASSERT_EQ(proxy_->ask(command), "ok") << command; }
  [[nodiscard]] int count(const std::string& what) { return std::stoi(proxy_->ask("count " + what)); }
  [[nodiscard]] std::string endpoint(const std::string& host = "127.0.0.1") const {
    return "http://" + host + ":" + std::to_string(port_);
  }

  /// Small parts, short waits, and nothing of the environment of whoever runs the tests.
  [[nodiscard]] ObjectStoreOptions options() const {
    ObjectStoreOptions options;
    options.endpoint = endpoint();
    options.part_bytes = 300'000;
    options.connections = 4;
    options.list_page = 25;
    options.connect_timeout = std::chrono::seconds(5);
    options.stall_timeout = std::chrono::seconds(1);
    options.retry = {4, std::chrono::milliseconds(2), std::chrono::milliseconds(20),
                     std::chrono::seconds(60)};
    options.environment = [](const char* name) -> std::optional<std::string> {
      static const std::map<std::string, std::string> variables = {
          {"AWS_ACCESS_KEY_ID", kAccessKeyId}, {"AWS_SECRET_ACCESS_KEY", kSecretAccessKey}};
      const auto at = variables.find(name);
      return at == variables.end() ? std::nullopt : std::optional<std::string>(at->second);
    };
    return options;
  }

 private:
  std::unique_ptr<LineProcess> server_;
  std::unique_ptr<LineProcess> proxy_;
  int server_port_ = 0;
  int port_ = 0;
};

inline S3Server& s3_server() {
  static auto* server = static_cast<S3Server*>(::testing::AddGlobalTestEnvironment(new S3Server));
  return *server;
}
/// Registered before main() runs.
inline const bool kS3ServerRegistered = (s3_server(), true);

inline std::unique_ptr<Store> open_s3(const std::string& url, const ObjectStoreOptions& options) {
  auto store = open_object_store(url, options);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return std::move(store).value();
}

}  // namespace tessera::recovery
