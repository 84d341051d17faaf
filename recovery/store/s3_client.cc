#include "recovery/store/s3_client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "recovery/store/s3_xml.h"

namespace tessera::recovery {
namespace {

constexpr const char* kService = "s3";

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), text) != names.end();
}

/// Answers that say "later": by status, or by code where a server sends it with another status.
bool says_later(int status, std::string_view code) {
  return status == 429 || status == 500 || status == 502 || status == 503 || status == 504 ||
         is_one_of(code, {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling",
                          "ThrottlingException", "OperationAborted"});
}

bool says_full(int status, std::string_view code) {
  return status == 507 ||
         is_one_of(code, {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"});
}

std::string shortened(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = ' ';
  }
  constexpr std::size_t kLongest = 300;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

void replace_all(std::string& text, const std::string& what) {
  if (what.empty()) return;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), "***");
  }
}

std::int64_t unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

/// Of a Retry-After header in seconds.
Nanoseconds asked_wait(const Result<HttpResponse>& response, Nanoseconds longest) {
  if (!response.ok()) return Nanoseconds(0);
  const std::string text = response->header("retry-after");
  int seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::clamp<Nanoseconds>(std::chrono::seconds(seconds), Nanoseconds(0), longest);
}

Status wrong_endpoint(const std::string& endpoint) {
  return bad_input(
      {"S3 endpoint", "", endpoint.find('@') == std::string::npos ? endpoint : "an address with a user",
       "http://host:port or https://host", "correct AWS_ENDPOINT_URL or the profile's endpoint_url"});
}

}  // namespace

Result<S3Endpoint> s3_endpoint(const S3Settings& settings, const std::string& bucket) {
  const bool at_aws = settings.endpoint.empty();
  const char* const domain = settings.region.starts_with("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  std::string address = at_aws ? fmt::format("https://s3.{}.{}", settings.region, domain) : settings.endpoint;
  while (address.ends_with('/')) address.pop_back();
  const std::size_t after_scheme = address.find("://");
  if (!address.starts_with("http://") && !address.starts_with("https://"))
    return wrong_endpoint(settings.endpoint);
  const std::string scheme = address.substr(0, after_scheme + 3);
  std::string host = address.substr(after_scheme + 3);
  constexpr const char* kHostCharacters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
  if (host.empty() || host.find_first_not_of(kHostCharacters) != std::string::npos) {
    return wrong_endpoint(settings.endpoint);
  }
  const bool dots = bucket.find('.') != std::string::npos;  // no certificate of AWS matches such a host
  const bool in_host = settings.addressing == S3Addressing::kVirtual ||
                       (settings.addressing == S3Addressing::kAuto && at_aws && !dots);
  if (in_host) host = bucket + "." + host;
  return S3Endpoint{scheme + host, host, in_host ? "/" : "/" + bucket + "/"};
}

S3Client::S3Client(S3Settings settings, S3Endpoint endpoint, const std::string& bucket,
                   ObjectStoreOptions options)
    : endpoint_(std::move(endpoint)),
      bucket_(bucket),
      options_(std::move(options)),
      http_({options_.connect_timeout, options_.stall_timeout, options_.request_timeout}, settings.ca_bundle),
      seed_(std::random_device()()),
      settings_(std::move(settings)) {}

S3Credentials S3Client::credentials() {
  const std::lock_guard lock(mutex_);
  return settings_.credentials;
}

bool S3Client::reload_credentials() {
  const Result<S3Settings> fresh = find_s3_settings(options_.environment, options_.profile);
  const std::lock_guard lock(mutex_);
  if (!fresh.ok() || fresh->credentials == settings_.credentials) return false;
  settings_.credentials = fresh->credentials;
  return true;
}

Result<HttpResponse> S3Client::send_once(const S3Request& request, const std::string& payload_sha256) {
  const S3Credentials keys = credentials();
  const std::string time = sigv4_time(unix_seconds());
  SigV4Request to_sign{request.method, endpoint_.path_prefix + uri_encode(request.key, false), request.query,
                       request.headers, payload_sha256};
  to_sign.headers.emplace_back("x-amz-content-sha256", payload_sha256);
  to_sign.headers.emplace_back("x-amz-date", time);
  if (!keys.session_token.empty())
    to_sign.headers.emplace_back("x-amz-security-token", keys.session_token.reveal());

  HttpRequest http;
  http.method = request.method;
  const std::string query = canonical_query(request.query);
  http.url = fmt::format("{}{}{}{}", endpoint_.origin, to_sign.path, query.empty() ? "" : "?", query);
  http.body = request.body;
  http.into = request.into;
  http.slow_answer = request.slow_answer;
  for (const auto& [name, value] : to_sign.headers) http.headers.push_back(name + ": " + value);
  to_sign.headers.emplace_back("host", endpoint_.host);  // which libcurl writes itself
  const SigV4Scope scope{settings_.region, kService, time};
  http.headers.push_back("authorization: " +
                         authorization(to_sign, scope, keys.access_key_id, keys.secret_access_key));
  return http_.send(http);
}

S3Client::Judged S3Client::judge(const S3Request& request, const Result<HttpResponse>& response) const {
  if (!response.ok()) {
    const Code code = response.status().code();
    const bool later = code == Code::kUnavailable || code == Code::kDeadlineExceeded;
    return {response.status(), later ? Verdict::kAgain : Verdict::kFinal};
  }
  const int status = response->status;
  if (status / 100 == 2) {
    Status checked = request.check ? request.check(response.value()) : Status();
    const bool later = checked.code() == Code::kUnavailable || checked.code() == Code::kDataLoss;
    return {std::move(checked), later ? Verdict::kAgain : Verdict::kFinal};
  }
  const S3Error error = parse_s3_error(response->text);
  std::string said = fmt::format("the server answered {}", status);
  for (const std::string& part : {error.code, error.message}) {
    if (!part.empty()) said += " " + shortened(part);
  }
  const auto users_mistake = [&](const std::string& remedy) {
    return Status(Code::kInvalidArgument, fmt::format("{}\n  remedy    {}", said, remedy));
  };
  if (error.code == "NoSuchBucket")
    return {users_mistake(fmt::format("create the bucket {} or correct its name", bucket_))};
  if (status == 404 || status == 416) return {};
  if (says_full(status, error.code)) return {{Code::kResourceExhausted, said}};
  if (says_later(status, error.code)) return {{Code::kUnavailable, said}, Verdict::kAgain};
  if (error.code == "RequestTimeTooSkewed") return {users_mistake("set this machine's clock")};
  if (status == 301 || status == 307 || error.code == "AuthorizationHeaderMalformed") {
    const std::string region = shortened(response->header("x-amz-bucket-region"));
    return {
        users_mistake(region.empty() ? "set AWS_REGION to the bucket's region" : "set AWS_REGION=" + region)};
  }
  if (status == 401 || status == 403 ||
      is_one_of(error.code, {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})) {
    return {users_mistake("use credentials that are valid and may do this"),
            Verdict::kAgainWithFreshCredentials};
  }
  return {{Code::kIoError, said}};
}

Status S3Client::described(const S3Request& request, const Status& status, int tries) {
  const S3Credentials keys = credentials();
  std::string text =
      fmt::format("s3://{}/{} at {}: {}: {}{}", bucket_, request.key, endpoint_.host, request.method,
                  status.message(), tries > 1 ? fmt::format(" (after {} tries)", tries) : "");
  // A server, or something between, may say back what it was sent.
  replace_all(text, keys.secret_access_key.reveal());
  replace_all(text, keys.session_token.reveal());
  return {status.code(), std::move(text)};
}

Result<HttpResponse> S3Client::send(const S3Request& request) {
  const std::string payload_sha256 = sha256_hex(request.body);
  Retries retries(options_.retry, clock_, derive_key(seed_, ++requests_));
  for (bool fresh = false;;) {
    Result<HttpResponse> response = send_once(request, payload_sha256);
    const Judged judged = judge(request, response);
    if (judged.status.ok()) return response;
    std::optional<Nanoseconds> wait;
    if (judged.verdict == Verdict::kAgainWithFreshCredentials && !fresh && reload_credentials()) {
      fresh = true;
      wait = Nanoseconds(0);
    } else if (judged.verdict == Verdict::kAgain) {
      wait = retries.next(asked_wait(response, options_.retry.longest_wait));
    }
    if (!wait) return described(request, judged.status, std::max(1, retries.failures()));
    std::this_thread::sleep_for(*wait);
  }
}

}  // namespace tessera::recovery
