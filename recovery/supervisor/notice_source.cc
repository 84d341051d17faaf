#include "recovery/supervisor/notice_source.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"
#include "recovery/supervisor/http_get.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
const std::string kBack = "back";
constexpr Time kGcpNotice{30'000};
constexpr const char* kAwsAddress = "http://169.254.169.254";
constexpr const char* kGcpAddress = "http://metadata.google.internal";

Status unexpected(const std::string& what, long code) {
  return {Code::kUnavailable, fmt::format("{} answered {}", what, code)};
}

Result<std::optional<Time>> ask_aws(const std::string& address, double timeout_s) {
  const HttpAnswer token = TS_TRY(http_request("PUT", address + "/latest/api/token",
                                               {"X-aws-ec2-metadata-token-ttl-seconds: 60"}, timeout_s));
  if (token.code != 200) return unexpected("the token service of " + address, token.code);
  const HttpAnswer action = TS_TRY(http_request("GET", address + "/latest/meta-data/spot/instance-action",
                                                {"X-aws-ec2-metadata-token: " + token.body}, timeout_s));
  if (action.code == 404) return std::optional<Time>();
  if (action.code != 200) return unexpected(address, action.code);
  return parse_aws_action(action.body);
}

Result<std::optional<Time>> ask_gcp(const std::string& address, double timeout_s, Time now) {
  const HttpAnswer answer = TS_TRY(http_request("GET", address + "/computeMetadata/v1/instance/preempted",
                                                {"Metadata-Flavor: Google"}, timeout_s));
  if (answer.code != 200) return unexpected(address, answer.code);
  return parse_gcp_preempted(answer.body, now);
}

}  // namespace

Result<Cloud> parse_cloud(const std::string& name) {
  if (name == "none") return Cloud::kNone;
  if (name == "aws") return Cloud::kAws;
  if (name == "gcp") return Cloud::kGcp;
  return bad_input({"--notices", "", name, "none, aws or gcp", ""});
}

Result<std::optional<Time>> ask_for_notice(const MetadataService& service, Time now) {
  const bool own = service.address.empty();
  switch (service.cloud) {
    case Cloud::kAws: return ask_aws(own ? kAwsAddress : service.address, service.timeout_s);
    case Cloud::kGcp: return ask_gcp(own ? kGcpAddress : service.address, service.timeout_s, now);
    case Cloud::kNone: break;
  }
  return std::optional<Time>();
}

Result<std::optional<Time>> parse_aws_action(const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains("time") || !json["time"].is_string()) {
    return Status(Code::kDataLoss, "spot/instance-action is no object with a time: " + body.substr(0, 200));
  }
  const auto text = json["time"].get<std::string>();
  std::tm parts{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') {
    return Status(Code::kDataLoss, "spot/instance-action has a time that is none: " + text.substr(0, 200));
  }
  return std::optional(Time(std::int64_t{timegm(&parts)} * 1000));
}

Result<std::optional<Time>> parse_gcp_preempted(const std::string& body, Time now) {
  std::string word;
  for (const char c : body) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) word += c;
  }
  if (word == "FALSE") return std::optional<Time>();
  if (word == "TRUE") return std::optional(now + kGcpNotice);
  return Status(Code::kDataLoss, "instance/preempted is neither TRUE nor FALSE: " + body.substr(0, 200));
}

Status leave_notice(const std::string& state_folder, const std::string& node, NodeNotice notice) {
  const std::string folder = state_folder + "/notices";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return write_failure(folder, "a directory for notices", error);
  return replace_durably(
      folder + "/" + node,
      notice ? fmt::format("{:.3f}\n", static_cast<double>(notice->count()) / 1000) : kBack + "\n");
}

std::map<std::string, NodeNotice> read_notices(const std::string& state_folder) {
  std::map<std::string, NodeNotice> notices;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(state_folder + "/notices", error)) {
    const std::string node = item.path().filename().string();
    if (node.starts_with(".")) continue;
    std::ifstream file(item.path());
    std::string word;
    file >> word;
    char* end = nullptr;
    const double seconds = std::strtod(word.c_str(), &end);
    const bool time = !word.empty() && *end == '\0' && seconds >= 0 && seconds < 1e11;
    notices[node] = word == kBack ? NodeNotice() : time ? Time(std::llround(seconds * 1000)) : Time{0};
  }
  return notices;
}

void forget_notice(const std::string& state_folder, const std::string& node) {
  std::error_code ignored;
  fs::remove(state_folder + "/notices/" + node, ignored);
}

}  // namespace tessera::recovery
