/// HttpClient: one request and its answer over libcurl, with every wait bounded. In this folder only its .cc
/// knows that there is a libcurl; whether to try again is the caller's matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

struct HttpLimits {
  Nanoseconds connect = std::chrono::seconds(5);
  Nanoseconds stall = std::chrono::seconds(20);    // less than 1 KiB/s for this long ends the request
  Nanoseconds request = std::chrono::minutes(10);  // all of one request
};

struct HttpRequest {
  std::string method;
  std::string url;
  std::vector<std::string> headers;  // "name: value"
  std::span<const Bytes> body;       // one piece after the other; sent by PUT and POST
  std::span<std::byte> into;         // the body of an answer of 200 or 206 goes here, not into text
  bool slow_answer = false;  // the server may work for minutes before it answers: the stall limit is off
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string text;                            // of the body, at most 64 MiB
  std::size_t received = 0;                    // bytes in `into`
  bool overflowed = false;                     // the body was longer than `into` or the limit, and was cut

  [[nodiscard]] std::string header(const std::string& name) const;
};

/// May be used by many threads; connections are kept and used again.
class HttpClient {
 public:
  /// `ca_bundle`: a file of certificates, "" for the system's.
  HttpClient(HttpLimits limits, std::string ca_bundle);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Errors    kDeadlineExceeded, kUnavailable: trying again may help. kInvalidArgument: the URL, the CA
  /// bundle
  ///           or the server's certificate is wrong; it will not.
  [[nodiscard]] Result<HttpResponse> send(const HttpRequest& request);

 private:
  class Connection;
  [[nodiscard]] std::unique_ptr<Connection> take();
  void give_back(std::unique_ptr<Connection> connection);
  HttpLimits limits_;
  std::string ca_bundle_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace tessera::recovery
