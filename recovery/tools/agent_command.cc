#include "recovery/tools/agent_command.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "recovery/supervisor/notice_source.h"
#include "recovery/supervisor/wall_time.h"

namespace tessera::recovery::tools {
namespace {

std::atomic<bool> asked_to_end{false};

struct Options {
  std::string state;
  std::string node;
  std::string notices = "none";
  std::string address;
  double interval_s = 5;
  double grace_s = 30;
};

/// Until the first notice: the machine will not be here for a second one.
Status run(const Options& options) {
  MetadataService service;
  service.cloud = TS_TRY(parse_cloud(options.notices));
  service.address = options.address;
  for (const int signal : {SIGTERM, SIGINT})
    std::signal(signal, [](int /*signal*/) { asked_to_end.store(true); });
  double wait_s = 0;
  while (true) {
    if (asked_to_end.load()) {
      return leave_notice(options.state, options.node,
                          wall_time() + Time(static_cast<std::int64_t>(options.grace_s * 1000)));
    }
    if (wait_s <= 0) {
      const Result<std::optional<Time>> answer = ask_for_notice(service, wall_time());
      if (!answer.ok()) fmt::print(stderr, "warning: {}\n", answer.status().message());
      if (answer.ok() && answer.value()) return leave_notice(options.state, options.node, *answer.value());
      wait_s = options.interval_s;
    }
    constexpr double kNap_s = 0.1;
    std::this_thread::sleep_for(std::chrono::duration<double>(kNap_s));
    wait_s -= kNap_s;
  }
}

}  // namespace

tessera::tools::Command add_agent_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("agent", "passes on what a node's cloud announces");
  app->add_option("--state", options->state, "the job's directory")->required()->type_name("DIR");
  app->add_option("--node", options->node, "the node that this runs on")->required()->type_name("NAME");
  app->add_option("--notices", options->notices, "none, aws or gcp")->capture_default_str();
  app->add_option("--metadata-address", options->address, "instead of the cloud's own");
  app->add_option("--interval", options->interval_s, "seconds between questions")
      ->check(CLI::Range(0.1, 1e6))
      ->capture_default_str();
  app->add_option("--grace", options->grace_s, "seconds that the node has left when this gets SIGTERM")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::recovery::tools
