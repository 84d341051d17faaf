#include "recovery/tools/status_command.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "recovery/supervisor/heartbeat.h"
#include "recovery/supervisor/journal.h"
#include "recovery/supervisor/state_file.h"
#include "recovery/supervisor/wall_time.h"

namespace tessera::recovery::tools {
namespace {

struct Options {
  std::string state;
  bool json = false;
};

struct Picture {
  SupervisorState state;
  bool supervised = false;
  std::vector<Heartbeat> ranks;
  std::string last;  // decision
  Time now{};
};

Result<Picture> look(const std::string& folder) {
  Picture picture;
  picture.state = TS_TRY(read_supervisor_state(folder + "/supervisor.json"));
  picture.supervised = StateLock::held(folder);
  const Job& job = picture.state.membership.job;
  if (processes_live(job.state)) {
    picture.ranks = read_heartbeats(fmt::format("{}/start-{:04}/heartbeats", folder, job.starts));
  }
  const Result<std::vector<JournalEntry>> journal = read_journal(folder + "/journal.jsonl");
  if (journal.ok() && !journal.value().empty()) picture.last = to_text(journal.value().back());
  picture.now = wall_time();
  return picture;
}

std::string ago(Time since, Time now) {
  return fmt::format("{:.0f} s", std::max(0.0, static_cast<double>((now - since).count()) / 1000));
}

std::string to_text(const Picture& picture) {
  const Job& job = picture.state.membership.job;
  std::string text =
      fmt::format("job         {} for {}, start {}{}\n", job_state_name(job.state),
                  ago(job.since, picture.now), job.starts, job.asked_to_stop ? ", asked to stop" : "");
  text += fmt::format("supervisor  {}\n",
                      picture.supervised ? "alive" : "none; the same tessera-run command goes on");
  text +=
      job.saved_step < 0 ? "saved       nothing yet\n" : fmt::format("saved       step {}\n", job.saved_step);
  if (job.streak > 0) text += fmt::format("crashes     {} in a row without a saved step\n", job.streak);
  const auto in_use = [&](std::size_t n) {
    const bool live = processes_live(job.state) && job.plan;
    return live && std::ranges::find(job.plan->used, static_cast<int>(n)) != job.plan->used.end();
  };
  for (std::size_t n = 0; n < picture.state.membership.nodes.size(); ++n) {
    const Node& node = picture.state.membership.nodes[n];
    const auto mine = std::ranges::count(picture.ranks, node.name, &Heartbeat::node);
    text +=
        fmt::format("node        {:<16} {:<10} for {:<8} {}\n", node.name, node_state_name(node.state),
                    ago(node.since, picture.now), in_use(n) ? fmt::format("{} ranks", mine) : "not in use");
  }
  for (const Heartbeat& rank : picture.ranks) {
    text += fmt::format("rank {:<6} {:<16} {:<10} step {}/{}, micro-batch {}, {:.3f} s a step, process {}\n",
                        rank.rank, rank.node, rank_state_name(rank.state), rank.step, rank.steps,
                        rank.micro_batch, rank.step_s, rank.pid);
  }
  if (!picture.last.empty()) text += fmt::format("last        {}\n", picture.last);
  return text;
}

std::string to_json(const Picture& picture) {
  auto json = nlohmann::ordered_json::parse(recovery::to_json(picture.state));
  json["supervised"] = picture.supervised;
  json["ranks"] = nlohmann::ordered_json::array();
  for (const Heartbeat& rank : picture.ranks) {
    json["ranks"].push_back(nlohmann::ordered_json::parse(recovery::to_json(rank)));
  }
  json["last_decision"] = picture.last;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

tessera::tools::Command add_status_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("status", "what the job, its nodes and its ranks are doing");
  app->add_option("--state", options->state, "the job's directory")->required()->type_name("DIR");
  app->add_flag("--json", options->json, "print one JSON object");
  return {app, [options]() -> Status {
            const Picture picture = TS_TRY(look(options->state));
            fmt::print("{}", options->json ? to_json(picture) : to_text(picture));
            return {};
          }};
}

}  // namespace tessera::recovery::tools
