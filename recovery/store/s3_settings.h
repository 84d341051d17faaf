/// Where the credentials and the settings of S3 come from: the environment variables and files that AWS's own
/// programs use, so that what works with `aws s3 ls` works here.
///
///   credentials  AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), unless a profile is asked
///   for;
///                else the profile (option, AWS_PROFILE, "default") of AWS_SHARED_CREDENTIALS_FILE
///                (~/.aws/credentials), else of AWS_CONFIG_FILE (~/.aws/config)
///   region       AWS_REGION, AWS_DEFAULT_REGION, the profile's region; else us-east-1
///   endpoint     AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's endpoint_url; else AWS
///   ca_bundle    AWS_CA_BUNDLE, the profile's ca_bundle; else the system's
///   addressing   the profile's addressing_style (also below "s3 ="): auto, path or virtual
///
/// Roles of machines, single sign-on and credential_process are not asked: export-credentials of the aws
/// program turns them into the variables above.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "algos/base/status.h"
#include "recovery/store/secret.h"

namespace tessera::recovery {

/// Looks up one variable.
using Environment = std::function<std::optional<std::string>(const char* name)>;
[[nodiscard]] Environment process_environment();

struct S3Credentials {
  std::string access_key_id;
  Secret secret_access_key;
  Secret session_token;  // empty: none
  bool operator==(const S3Credentials&) const = default;
};

enum class S3Addressing : std::uint8_t {
  kAuto,     // virtual-host style at AWS for bucket names without dots, else path style
  kPath,     // https://host/bucket/key
  kVirtual,  // https://bucket.host/key
};

struct S3Settings {
  S3Credentials credentials;
  std::string region;
  std::string endpoint;  // "" : AWS
  std::string ca_bundle;
  S3Addressing addressing = S3Addressing::kAuto;
};

/// `profile`: "" for AWS_PROFILE or "default".
/// Errors    kInvalidArgument: no credentials (says where it looked), or a file or a value that is wrong.
[[nodiscard]] Result<S3Settings> find_s3_settings(const Environment& environment, const std::string& profile);

/// [section] and name = value; lines below "name =" that are indented are "name.inner = value".
using IniSections = std::map<std::string, std::map<std::string, std::string>>;
/// Errors    kInvalidArgument naming file and line, never what is in the line: it may be a secret.
[[nodiscard]] Result<IniSections> parse_ini(std::string_view text, const std::string& file);

}  // namespace tessera::recovery
