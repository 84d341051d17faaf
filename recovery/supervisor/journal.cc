#include "recovery/supervisor/journal.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tessera::recovery {
namespace {

std::string clock_text(Time time, const char* format, const char* end) {
  const auto seconds = static_cast<std::time_t>(time.count() / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof(text), format, &parts);
  return fmt::format("{}.{:03}{}", text, time.count() % 1000, end);
}

}  // namespace

std::string to_json_line(const JournalEntry& entry) {
  nlohmann::ordered_json json{{"time", clock_text(entry.time, "%Y-%m-%dT%H:%M:%S", "Z")},
                              {"time_ms", entry.time.count()},
                              {"event", entry.event}};
  if (!entry.node.empty()) json["node"] = entry.node;
  json["action"] = entry.action;
  json["why"] = entry.why;
  json["job"] = entry.job;
  json["saved_step"] = entry.saved_step;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<JournalEntry> parse_journal_line(const std::string& line) {
  try {
    const auto json = nlohmann::json::parse(line);
    JournalEntry entry;
    entry.time = Time(json.at("time_ms").get<std::int64_t>());
    json.at("event").get_to(entry.event);
    entry.node = json.value("node", "");
    json.at("action").get_to(entry.action);
    json.at("why").get_to(entry.why);
    json.at("job").get_to(entry.job);
    json.at("saved_step").get_to(entry.saved_step);
    return entry;
  } catch (const nlohmann::json::exception& error) {
    return Status(Code::kDataLoss, error.what());
  }
}

std::string to_text(const JournalEntry& entry) {
  const std::string node = entry.node.empty() ? "" : " (" + entry.node + ")";
  const std::string saved = entry.saved_step < 0 ? "" : fmt::format(" [saved {}]", entry.saved_step);
  return fmt::format("{}  {:<12} {}{}: {}: {}{}", clock_text(entry.time, "%H:%M:%S", ""), entry.job,
                     entry.event, node, entry.action, entry.why, saved);
}

Status append_journal(const std::string& path, const JournalEntry& entry) {
  const std::string line = to_json_line(entry);
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const bool written =
      file >= 0 && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int error = errno;
  if (file >= 0) close(file);
  if (written) return {};
  return {Code::kIoError, fmt::format("{}: {}", path, std::strerror(error))};
}

Result<std::vector<JournalEntry>> read_journal(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(Code::kNotFound, fmt::format("{}: no journal there", path));
  std::vector<JournalEntry> entries;
  for (std::string line; std::getline(file, line);) {
    Result<JournalEntry> entry = parse_journal_line(line);
    if (entry.ok()) entries.push_back(std::move(entry).value());
  }
  return entries;
}

}  // namespace tessera::recovery
