#include "recovery/store/http_client.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <curl/curl.h>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

constexpr std::size_t kLongestText = std::size_t{64} << 20;

void start_library_once() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  TS_REQUIRE(code == CURLE_OK, code);
}

/// A connection that the server has closed must not end the process: OpenSSL writes to it without
/// MSG_NOSIGNAL, and libcurl ignores the signal only where it may change the whole process's handlers.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;
  ~SigpipeBlocked() {
    const timespec now{};
    if (!was_pending_) {
      while (sigtimedwait(&sigpipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

/// What curl's callbacks work on during one request.
struct Exchange {
  const HttpRequest* request = nullptr;
  CURL* handle = nullptr;
  std::size_t piece = 0;  // of the body, next to be sent
  std::size_t in_piece = 0;
  HttpResponse response;
};

std::size_t give_body(char* to, std::size_t size, std::size_t count, void* data) {
  auto& exchange = *static_cast<Exchange*>(data);
  const std::span<const Bytes> body = exchange.request->body;
  std::size_t room = size * count;
  std::size_t given = 0;
  while (room > 0 && exchange.piece < body.size()) {
    const Bytes rest = body[exchange.piece].subspan(exchange.in_piece);
    const std::size_t n = std::min(room, rest.size());
    if (n > 0) std::memcpy(to + given, rest.data(), n);
    given += n;
    room -= n;
    exchange.in_piece += n;
    if (exchange.in_piece == body[exchange.piece].size()) {
      ++exchange.piece;
      exchange.in_piece = 0;
    }
  }
  return given;
}

/// curl sends the body anew when a kept connection turns out to be closed; it only ever rewinds.
int rewind_body(void* data, curl_off_t offset, int origin) {
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  auto& exchange = *static_cast<Exchange*>(data);
  exchange.piece = 0;
  exchange.in_piece = 0;
  return CURL_SEEKFUNC_OK;
}

std::size_t take_body(char* from, std::size_t size, std::size_t count, void* data) {
  auto& exchange = *static_cast<Exchange*>(data);
  HttpResponse& response = exchange.response;
  const std::size_t bytes = size * count;
  long status = 0;
  curl_easy_getinfo(exchange.handle, CURLINFO_RESPONSE_CODE, &status);
  const bool wanted = !exchange.request->into.empty() && (status == 200 || status == 206);
  const std::size_t room =
      wanted ? exchange.request->into.size() - response.received : kLongestText - response.text.size();
  if (bytes > room) {
    response.overflowed = true;
    return 0;  // ends the request
  }
  if (wanted) {
    std::memcpy(exchange.request->into.data() + response.received, from, bytes);
    response.received += bytes;
  } else {
    response.text.append(from, bytes);
  }
  return bytes;
}

std::size_t take_header(char* from, std::size_t size, std::size_t count, void* data) {
  auto& headers = static_cast<Exchange*>(data)->response.headers;
  std::string_view line(from, size * count);
  if (line.starts_with("HTTP/")) headers.clear();  // of an interim answer
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n' || line.back() == ' '))
    line.remove_suffix(1);
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ', colon + 1)));
    headers[name] = line;
  }
  return size * count;
}

Status failure(CURLcode code, const char* details, const std::string& url) {
  const std::string text =
      fmt::format("{}: {}{}{}", url, curl_easy_strerror(code), *details != '\0' ? ": " : "", details);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return {Code::kDeadlineExceeded, text};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return bad_input({url, "", text, "a certificate that the CA bundle vouches for",
                        "name the CA's file in AWS_CA_BUNDLE, or correct the endpoint"});
    case CURLE_URL_MALFORMAT:
      return bad_input({url, "", text, "an http:// or https:// address", "correct the endpoint"});
    default: return {Code::kUnavailable, text};
  }
}

long milliseconds(Nanoseconds time) {
  return static_cast<long>(std::max<std::int64_t>(1, time.count() / 1'000'000));
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? "" : at->second;
}

class HttpClient::Connection {
 public:
  Connection() : handle_(curl_easy_init()) {
    if (handle_ == nullptr) throw std::bad_alloc();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { curl_easy_cleanup(handle_); }
  [[nodiscard]] CURL* handle() const { return handle_; }

 private:
  CURL* handle_;
};

HttpClient::HttpClient(HttpLimits limits, std::string ca_bundle)
    : limits_(limits), ca_bundle_(std::move(ca_bundle)) {
  start_library_once();
}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Connection>();
  std::unique_ptr<Connection> connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void HttpClient::give_back(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
  std::unique_ptr<Connection> connection = take();
  CURL* const handle = connection->handle();
  curl_easy_reset(handle);  // keeps the connection
  Exchange exchange;
  exchange.request = &request;
  exchange.handle = handle;

  curl_slist* list = nullptr;
  for (const std::string& header : request.headers) list = curl_slist_append(list, header.c_str());
  list = curl_slist_append(list, "Expect:");  // no round trip before each body
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, curl_slist_free_all);

  std::array<char, CURL_ERROR_SIZE> details{};
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, details.data());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(limits_.connect));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, milliseconds(limits_.request));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, request.slow_answer ? 0L : 1024L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, std::max(1L, milliseconds(limits_.stall) / 1000));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  if (!ca_bundle_.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, ca_bundle_.c_str());
  if (request.method == "HEAD") curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  if (request.method == "PUT" || request.method == "POST") {
    std::size_t bytes = 0;
    for (const Bytes piece : request.body) bytes += piece.size();
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(bytes));
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(handle, CURLOPT_READDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, rewind_body);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, &exchange);
  }
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());

  const CURLcode code = [handle] {
    const SigpipeBlocked blocked;
    return curl_easy_perform(handle);
  }();
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  // After a failure the connection may be in the middle of an answer: curl has closed it, the handle stays
  // good.
  give_back(std::move(connection));
  if (code != CURLE_OK && !exchange.response.overflowed) return failure(code, details.data(), request.url);
  exchange.response.status = static_cast<int>(status);
  return std::move(exchange.response);
}

}  // namespace tessera::recovery
