#include "recovery/store/s3_settings.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace tessera::recovery {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kWhite = " \t\r";
  const std::size_t begin = text.find_first_not_of(kWhite);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhite) - begin + 1);
}

Status bad_line(const std::string& file, int line, const char* found) {
  return bad_input({fmt::format("{}:{}", file, line), "", found, "[section] or name = value",
                    "mend the line; the aws program's `aws configure` writes such files"});
}

/// Variables that are set and not empty.
class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}
  [[nodiscard]] std::string get(const char* name) const { return environment_(name).value_or(""); }
  [[nodiscard]] std::string first_of(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (std::string value = get(name); !value.empty()) return value;
    }
    return "";
  }
  /// The variable, else the file of that name in ~/.aws.
  [[nodiscard]] std::string file(const char* variable, const char* name) const {
    const std::string path = get(variable);
    return path.empty() ? get("HOME") + "/.aws/" + name : path;
  }

 private:
  const Environment& environment_;
};

/// Nothing in a file that is not there.
Result<IniSections> read_ini(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in.is_open()) return IniSections();
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return parse_ini(text, path);
}

std::string value_of(const IniSections& sections, const std::string& section, const char* name) {
  const auto at = sections.find(section);
  if (at == sections.end()) return "";
  const auto value = at->second.find(name);
  return value == at->second.end() ? "" : value->second;
}

S3Credentials credentials_in(const IniSections& sections, const std::string& section) {
  return {value_of(sections, section, "aws_access_key_id"),
          Secret(value_of(sections, section, "aws_secret_access_key")),
          Secret(value_of(sections, section, "aws_session_token"))};
}

bool whole(const S3Credentials& credentials) {
  return !credentials.access_key_id.empty() && !credentials.secret_access_key.empty();
}

Result<S3Addressing> addressing_of(const std::string& text, const std::string& file) {
  if (text.empty() || text == "auto") return S3Addressing::kAuto;
  if (text == "path") return S3Addressing::kPath;
  if (text == "virtual") return S3Addressing::kVirtual;
  return bad_input({file, "addressing_style", text, "auto, path or virtual", "correct the line"});
}

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

Result<IniSections> parse_ini(std::string_view text, const std::string& file) {
  IniSections sections;
  std::map<std::string, std::string>* section = nullptr;
  std::string outer;  // of indented lines
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view raw = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::string_view line = trimmed(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      if (line.back() != ']') return bad_line(file, number, "a section's name without its ]");
      section = &sections[std::string(trimmed(line.substr(1, line.size() - 2)))];
      outer.clear();
      continue;
    }
    const std::size_t equals = line.find('=');
    if (section == nullptr) return bad_line(file, number, "a line before the first [section]");
    if (equals == std::string_view::npos) return bad_line(file, number, "a line without =");
    const std::string name(trimmed(line.substr(0, equals)));
    const std::string value(trimmed(line.substr(equals + 1)));
    if (name.empty()) return bad_line(file, number, "a line without a name before the =");
    const bool indented = raw[0] == ' ' || raw[0] == '\t';
    if (!indented) outer = value.empty() ? name : "";
    (*section)[indented && !outer.empty() ? outer + "." + name : name] = value;
  }
  return sections;
}

Result<S3Settings> find_s3_settings(const Environment& environment, const std::string& profile) {
  const Variables variables(environment);
  const std::string asked = profile.empty() ? variables.get("AWS_PROFILE") : profile;
  const std::string name = asked.empty() ? "default" : asked;
  const std::string credentials_file = variables.file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  const std::string config_file = variables.file("AWS_CONFIG_FILE", "config");
  const IniSections in_credentials = TS_TRY(read_ini(credentials_file));
  const IniSections in_config = TS_TRY(read_ini(config_file));
  const std::string section = name == "default" ? name : "profile " + name;

  S3Settings settings;
  if (profile
          .empty()) {  // as in AWS's programs, the variables win over AWS_PROFILE, not over an explicit one
    settings.credentials = {variables.get("AWS_ACCESS_KEY_ID"),
                            Secret(variables.get("AWS_SECRET_ACCESS_KEY")),
                            Secret(variables.get("AWS_SESSION_TOKEN"))};
  }
  if (!whole(settings.credentials)) settings.credentials = credentials_in(in_credentials, name);
  if (!whole(settings.credentials)) settings.credentials = credentials_in(in_config, section);
  if (!whole(settings.credentials)) {
    return bad_input(
        {"S3 credentials", "", "none",
         fmt::format("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile {} in {} or {}", name,
                     credentials_file, config_file),
         "export them, or run `aws configure`"});
  }
  const auto setting = [&](std::initializer_list<const char*> names, const char* in_file) {
    const std::string value = variables.first_of(names);
    return value.empty() ? value_of(in_config, section, in_file) : value;
  };
  settings.region = setting({"AWS_REGION", "AWS_DEFAULT_REGION"}, "region");
  if (settings.region.empty()) settings.region = "us-east-1";
  settings.endpoint = setting({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}, "endpoint_url");
  settings.ca_bundle = setting({"AWS_CA_BUNDLE"}, "ca_bundle");
  const std::string inner = value_of(in_config, section, "s3.addressing_style");
  settings.addressing = TS_TRY(
      addressing_of(inner.empty() ? value_of(in_config, section, "addressing_style") : inner, config_file));
  return settings;
}

}  // namespace tessera::recovery
