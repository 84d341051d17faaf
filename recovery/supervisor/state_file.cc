#include "recovery/supervisor/state_file.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"

namespace tessera::recovery {
namespace {

using Json = nlohmann::ordered_json;

template <class State>
State state_of(const Json& json, int count, const char* (*name)(State)) {
  const auto text = json.get<std::string>();
  for (int i = 0; i < count; ++i) {
    if (text == name(static_cast<State>(i))) return static_cast<State>(i);
  }
  throw std::invalid_argument("unknown state \"" + text + "\"");
}

Json plan_json(const PlanChoice& plan) {
  return {{"offered", plan.offered}, {"used", plan.used}, {"step_s", plan.step_s}};
}

/// Node numbers must be of nodes that exist: everything that follows indexes with them.
NodeSet node_set(const Json& json, std::size_t nodes) {
  auto set = json.get<NodeSet>();
  for (std::size_t i = 0; i < set.size(); ++i) {
    const bool exists = set[i] >= 0 && static_cast<std::size_t>(set[i]) < nodes;
    if (!exists || (i > 0 && set[i] <= set[i - 1]))
      throw std::invalid_argument("a set of nodes that is none");
  }
  return set;
}

Json node_json(const Node& node) {
  return {{"name", node.name},
          {"state", node_state_name(node.state)},
          {"since_ms", node.since.count()},
          {"until_ms", node.until.count()},
          {"ordered", node.ordered}};
}

Node node_of(const Json& json) {
  Node node;
  json.at("name").get_to(node.name);
  node.state = state_of(json.at("state"), kNodeStates, node_state_name);
  node.since = Time(json.at("since_ms").get<std::int64_t>());
  node.until = Time(json.at("until_ms").get<std::int64_t>());
  json.at("ordered").get_to(node.ordered);
  return node;
}

Json job_json(const Job& job) {
  std::vector<std::int64_t> crashes;
  for (const Time crash : job.crashes) crashes.push_back(crash.count());
  Json json{{"state", job_state_name(job.state)},
            {"since_ms", job.since.count()},
            {"asked", job.asked},
            {"broken", job.broken},
            {"excused", job.excused},
            {"asked_to_stop", job.asked_to_stop},
            {"save_by_ms", job.save_by.count()},
            {"not_before_ms", job.not_before.count()},
            {"weighed", job.weighed},
            {"starts", job.starts},
            {"saved_step", job.saved_step},
            {"start_step", job.start_step},
            {"steps_left", job.steps_left},
            {"step_s", job.step_s},
            {"crashes_ms", crashes},
            {"streak", job.streak},
            {"wanted", job.wanted}};
  if (job.plan) json["plan"] = plan_json(*job.plan);
  return json;
}

Job job_of(const Json& json, std::size_t nodes) {
  Job job;
  const auto time = [&](const char* name) { return Time(json.at(name).get<std::int64_t>()); };
  job.state = state_of(json.at("state"), kJobStates, job_state_name);
  job.since = time("since_ms");
  job.asked = node_set(json.at("asked"), nodes);
  json.at("broken").get_to(job.broken);
  json.at("excused").get_to(job.excused);
  json.at("asked_to_stop").get_to(job.asked_to_stop);
  job.save_by = time("save_by_ms");
  job.not_before = time("not_before_ms");
  job.weighed = node_set(json.at("weighed"), nodes);
  json.at("starts").get_to(job.starts);
  json.at("saved_step").get_to(job.saved_step);
  json.at("start_step").get_to(job.start_step);
  json.at("steps_left").get_to(job.steps_left);
  json.at("step_s").get_to(job.step_s);
  for (const auto& crash : json.at("crashes_ms")) job.crashes.emplace_back(crash.get<std::int64_t>());
  json.at("streak").get_to(job.streak);
  json.at("wanted").get_to(job.wanted);
  if (json.contains("plan")) {
    const Json& plan = json.at("plan");
    job.plan = PlanChoice{node_set(plan.at("offered"), nodes), node_set(plan.at("used"), nodes),
                          plan.at("step_s").get<double>()};
  }
  if (job.starts < 1 && processes_live(job.state)) {
    throw std::invalid_argument(std::string(job_state_name(job.state)) + " without a start");
  }
  if (!job.plan && (processes_live(job.state) || job.state == JobState::kBackingOff)) {
    throw std::invalid_argument(std::string(job_state_name(job.state)) + " without a plan");
  }
  return job;
}

std::string lock_path(const std::string& folder) { return folder + "/supervisor.lock"; }

}  // namespace

std::string to_json(const SupervisorState& state) {
  Json nodes = Json::array();
  for (const Node& node : state.membership.nodes) nodes.push_back(node_json(node));
  return Json{{"run", state.run}, {"nodes", nodes}, {"job", job_json(state.membership.job)}}.dump(2) + "\n";
}

Result<SupervisorState> parse_supervisor_state(const std::string& text, const std::string& name) {
  try {
    const Json json = Json::parse(text);
    SupervisorState state;
    json.at("run").get_to(state.run);
    for (const Json& node : json.at("nodes")) state.membership.nodes.push_back(node_of(node));
    state.membership.job = job_of(json.at("job"), state.membership.nodes.size());
    return state;
  } catch (const std::exception& error) {
    return Status(Code::kDataLoss, fmt::format("{}: {}", name, error.what()));
  }
}

Status write_supervisor_state(const std::string& path, const SupervisorState& state) {
  return replace_durably(path, to_json(state));
}

Result<SupervisorState> read_supervisor_state(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status(Code::kNotFound, fmt::format("{}: no supervisor has been here", path));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_supervisor_state(text, path);
}

Result<StateLock> StateLock::take(const std::string& folder) {
  const int file = open(lock_path(folder).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return write_failure(lock_path(folder), "a lock", {errno, std::generic_category()});
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return StateLock(file);
  close(file);
  return bad_input({"--state", "", fmt::format("another tessera-run keeps the job of {}", folder),
                    "one supervisor for a job", "end that one first, or choose another directory"},
                   Code::kFailedPrecondition);
}

bool StateLock::held(const std::string& folder) {
  const int file = open(lock_path(folder).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool free = flock(file, LOCK_SH | LOCK_NB) == 0;
  close(file);
  return !free;
}

StateLock::StateLock(StateLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
StateLock::~StateLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace tessera::recovery
