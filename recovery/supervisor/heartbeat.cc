#include "recovery/supervisor/heartbeat.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
constexpr std::array<const char*, 6> kStateNames = {"starting",   "restoring", "training",
                                                    "evaluating", "saving",    "done"};

}  // namespace

const char* rank_state_name(RankState state) { return kStateNames[static_cast<std::size_t>(state)]; }

std::string to_json(const Heartbeat& h) {
  const nlohmann::ordered_json json{{"rank", h.rank},
                                    {"pid", h.pid},
                                    {"host", h.host},
                                    {"node", h.node},
                                    {"state", rank_state_name(h.state)},
                                    {"beat", h.beat},
                                    {"step", h.step},
                                    {"steps", h.steps},
                                    {"micro_batch", h.micro_batch},
                                    {"saved_step", h.saved_step},
                                    {"step_s", h.step_s}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<Heartbeat> parse_heartbeat(std::string_view text, const std::string& name) {
  try {
    const auto json = nlohmann::json::parse(text);
    Heartbeat h;
    json.at("rank").get_to(h.rank);
    json.at("pid").get_to(h.pid);
    json.at("host").get_to(h.host);
    json.at("node").get_to(h.node);
    const auto* state = std::ranges::find(kStateNames, json.at("state").get<std::string>());
    if (state == kStateNames.end()) return Status(Code::kDataLoss, name + ": an unknown state");
    h.state = static_cast<RankState>(state - kStateNames.begin());
    json.at("beat").get_to(h.beat);
    json.at("step").get_to(h.step);
    json.at("steps").get_to(h.steps);
    json.at("micro_batch").get_to(h.micro_batch);
    json.at("saved_step").get_to(h.saved_step);
    json.at("step_s").get_to(h.step_s);
    return h;
  } catch (const nlohmann::json::exception& error) {
    return Status(Code::kDataLoss, fmt::format("{}: {}", name, error.what()));
  }
}

Status write_heartbeat(const std::string& folder, const Heartbeat& heartbeat) {
  const std::string path = fmt::format("{}/rank-{:04}.json", folder, heartbeat.rank);
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file << to_json(heartbeat);
  file.close();
  std::error_code error;
  if (file) fs::rename(part, path, error);
  if (file && !error) return {};
  return {Code::kIoError, fmt::format("{}: the heartbeat could not be written", path)};
}

std::vector<Heartbeat> read_heartbeats(const std::string& folder) {
  std::vector<Heartbeat> beats;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (item.path().extension() != ".json") continue;
    std::ifstream file(item.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    Result<Heartbeat> beat = parse_heartbeat(text, item.path().string());
    if (beat.ok()) beats.push_back(std::move(beat).value());
  }
  std::ranges::sort(beats, {}, &Heartbeat::rank);
  return beats;
}

}  // namespace tessera::recovery
