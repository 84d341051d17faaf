/// S3Client: signed requests to one bucket, tried again while that may help.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "recovery/store/http_client.h"
#include "recovery/store/object_store.h"
#include "recovery/store/s3_settings.h"
#include "recovery/store/sigv4.h"

namespace tessera::recovery {

struct S3Request {
  std::string method;
  std::string key;  // "" : the bucket
  Fields query;
  Fields headers;
  std::span<const Bytes> body;
  std::span<std::byte> into;
  bool slow_answer = false;  // as HttpRequest's
  /// Judges an answer of 2xx. kUnavailable and kDataLoss: try again, other failures are final.
  std::function<Status(const HttpResponse&)> check;
};

/// The parts of an address that stay the same: https://bucket.s3.eu-west-1.amazonaws.com.
struct S3Endpoint {
  std::string origin;       // scheme, host and port
  std::string host;         // as in the Host header
  std::string path_prefix;  // "/" or "/bucket/"
};
/// Errors    kInvalidArgument: not http(s)://host[:port].
[[nodiscard]] Result<S3Endpoint> s3_endpoint(const S3Settings& settings, const std::string& bucket);

class S3Client {
 public:
  S3Client(S3Settings settings, S3Endpoint endpoint, const std::string& bucket, ObjectStoreOptions options);

  /// An answer of 2xx that passed the check, or of 404 or 416; the rest is a Status.
  [[nodiscard]] Result<HttpResponse> send(const S3Request& request);
  [[nodiscard]] const S3Endpoint& endpoint() const { return endpoint_; }

 private:
  enum class Verdict : std::uint8_t { kFinal, kAgain, kAgainWithFreshCredentials };
  struct Judged {
    Status status;
    Verdict verdict = Verdict::kFinal;
  };
  [[nodiscard]] Result<HttpResponse> send_once(const S3Request& request, const std::string& payload_sha256);
  [[nodiscard]] Judged judge(const S3Request& request, const Result<HttpResponse>& response) const;
  [[nodiscard]] S3Credentials credentials();
  /// Whether the environment or the files have others than those in use.
  [[nodiscard]] bool reload_credentials();
  [[nodiscard]] Status described(const S3Request& request, const Status& status, int tries);

  S3Endpoint endpoint_;
  std::string bucket_;
  ObjectStoreOptions options_;
  HttpClient http_;
  SystemClock clock_;
  std::uint64_t seed_;
  std::atomic<std::uint64_t> requests_{0};
  std::mutex mutex_;  // of settings_
  S3Settings settings_;
};

}  // namespace tessera::recovery
