#include "recovery/store/object_store.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "recovery/store/s3_client.h"
#include "recovery/store/s3_xml.h"
#include "recovery/store/store_checks.h"

namespace tessera::recovery {
namespace {

constexpr std::int64_t kMostParts = 10'000;

/// Bytes [begin, begin + count) of the pieces.
std::vector<Bytes> slice(std::span<const Bytes> pieces, std::int64_t begin, std::int64_t count) {
  std::vector<Bytes> out;
  for (const Bytes piece : pieces) {
    const auto size = static_cast<std::int64_t>(piece.size());
    const std::int64_t from = std::clamp<std::int64_t>(begin, 0, size);
    const std::int64_t to = std::clamp<std::int64_t>(begin + count, 0, size);
    if (to > from)
      out.push_back(piece.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)));
    begin -= size;
  }
  return out;
}

std::int64_t total_bytes(std::span<const Bytes> pieces) {
  std::int64_t bytes = 0;
  for (const Bytes piece : pieces) bytes += static_cast<std::int64_t>(piece.size());
  return bytes;
}

/// work(0) .. work(count - 1) by so many threads; no further one begins after a failure. The first failure.
template <class Work>
Status in_parallel(std::int64_t count, int threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  Status first;
  const auto run = [&] {
    for (std::int64_t i = next++; i < count && !failed; i = next++) {
      Status status = work(i);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (!failed) first = std::move(status);
      failed = true;
    }
  };
  std::vector<std::thread> helpers;
  const std::int64_t useful = std::min<std::int64_t>(threads, count);
  for (std::int64_t i = 1; i < useful; ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
  return first;
}

Status unavailable(const std::string& found) {
  return {Code::kUnavailable, "an answer that cannot be right: " + found};
}

/// "bytes 0-9/100" of an answer, or "bytes */100"; -1 where it says nothing.
struct ContentRange {
  std::int64_t first = -1;
  std::int64_t last = -1;
  std::int64_t size = -1;
};
ContentRange content_range(const HttpResponse& response) {
  const std::string text = response.header("content-range");
  const std::size_t slash = text.find('/');
  if (!text.starts_with("bytes ") || slash == std::string::npos) return {};
  const auto number = [&](std::size_t from, std::size_t to) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data() + from, text.data() + to, value);
    return error == std::errc() && end == text.data() + to ? value : -1;
  };
  const std::size_t dash = std::min(text.find('-'), slash);
  return {number(6, dash), dash == slash ? -1 : number(dash + 1, slash), number(slash + 1, text.size())};
}

std::string xml_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

class S3Store final : public Store {
 public:
  S3Store(std::string url, std::string prefix, S3Settings settings, S3Endpoint endpoint,
          const std::string& bucket, const ObjectStoreOptions& options)
      : url_(std::move(url)),
        prefix_(std::move(prefix)),
        options_(options),
        client_(std::move(settings), std::move(endpoint), bucket, options) {}

  [[nodiscard]] std::string describe() const override {
    return fmt::format("{} at {}", url_, client_.endpoint().host);
  }

  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override {
    TS_TRY(check_key(key));
    const std::int64_t bytes = total_bytes(pieces);
    // The answer to the last request of an upload may be lost, and the upload be gone when it is asked again:
    // whether the object is there is then known only by putting it once more.
    constexpr int kPuts = 3;
    Status status;
    for (int i = 0; i < kPuts; ++i) {
      status =
          bytes <= options_.part_bytes ? checked(request("PUT", key), pieces) : upload(key, pieces, bytes);
      if (status.code() != Code::kNotFound) return status;
    }
    return {Code::kUnavailable, status.message()};
  }

  [[nodiscard]] Result<std::int64_t> size(const std::string& key) override {
    TS_TRY(check_key(key));
    S3Request head = request("HEAD", key);
    std::int64_t bytes = -1;
    head.check = [&](const HttpResponse& response) {
      const std::string text = response.header("content-length");
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
      if (error != std::errc() || end != text.data() + text.size() || bytes < 0)
        return unavailable("no length");
      return Status();
    };
    const HttpResponse response = TS_TRY(client_.send(head));
    if (response.status / 100 != 2) return no_object(*this, key);
    return bytes;
  }

  [[nodiscard]] Status read(const std::string& key, std::int64_t offset, std::span<std::byte> into) override {
    TS_TRY(check_read(key, offset, into.size()));
    if (into.empty()) {
      const std::int64_t bytes = TS_TRY(size(key));
      return offset <= bytes ? Status() : too_short(*this, key, bytes, offset, 0);
    }
    const std::int64_t bytes = static_cast<std::int64_t>(into.size());
    const std::int64_t ranges = (bytes + options_.part_bytes - 1) / options_.part_bytes;
    constexpr int kReads = 8;  // of an object that is replaced again and again
    for (int i = 0; i < kReads; ++i) {
      std::vector<std::string> tags(static_cast<std::size_t>(ranges));
      TS_TRY(in_parallel(ranges, options_.connections, [&](std::int64_t range) {
        const std::int64_t begin = range * options_.part_bytes;
        const std::int64_t count = std::min(options_.part_bytes, bytes - begin);
        return read_range(key, offset + begin,
                          into.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
                          tags[static_cast<std::size_t>(range)]);
      }));
      if (std::adjacent_find(tags.begin(), tags.end(), std::not_equal_to<>()) == tags.end()) return {};
    }
    return {Code::kUnavailable,
            fmt::format("{}: {} is replaced faster than it can be read", describe(), key)};
  }

  [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override {
    TS_TRY(check_key_prefix(prefix));
    std::vector<std::string> keys;
    std::string token;
    do {
      S3ListPage page = TS_TRY(list_page(prefix, token));
      for (const std::string& key : page.keys) {
        if (!key.starts_with(prefix_ + std::string(prefix))) {
          return Status(Code::kDataLoss,
                        fmt::format("{}: a list of {} names a key outside", describe(), prefix));
        }
        if (is_key(key.substr(prefix_.size()))) keys.push_back(key.substr(prefix_.size()));
      }
      if (!page.continuation.empty() && (page.continuation == token || page.keys.empty())) {
        return Status(Code::kDataLoss,
                      fmt::format("{}: a list of {} that does not go on", describe(), prefix));
      }
      token = std::move(page.continuation);
    } while (!token.empty());
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()),
               keys.end());  // pages may overlap when objects come and go
    return keys;
  }

  [[nodiscard]] Status remove(const std::string& key) override {
    TS_TRY(check_key(key));
    TS_TRY(client_.send(request("DELETE", key)));
    return {};
  }

 private:
  [[nodiscard]] S3Request request(const char* method, const std::string& key) const {
    S3Request request;
    request.method = method;
    request.key = prefix_ + key;
    return request;
  }

  /// For requests that have no business being answered with "not found".
  [[nodiscard]] Status checked(S3Request request, std::span<const Bytes> body) {
    request.body = body;
    const HttpResponse response = TS_TRY(client_.send(request));
    if (response.status / 100 == 2) return {};
    const S3Error error = parse_s3_error(response.text);
    return {Code::kNotFound, fmt::format("{}: {} of {}: {} {}", describe(), request.method, request.key,
                                         response.status, error.code)};
  }

  [[nodiscard]] Result<S3ListPage> list_page(std::string_view prefix, const std::string& token) {
    S3Request get;
    get.method = "GET";
    get.query = {{"list-type", "2"},
                 {"encoding-type", "url"},
                 {"prefix", prefix_ + std::string(prefix)},
                 {"max-keys", std::to_string(options_.list_page)}};
    if (!token.empty()) get.query.emplace_back("continuation-token", token);
    S3ListPage page;
    get.check = [&](const HttpResponse& response) -> Status {
      page = TS_TRY(parse_s3_list(response.text));
      return {};
    };
    const HttpResponse response = TS_TRY(client_.send(get));
    if (response.status / 100 == 2) return page;
    return Status(Code::kNotFound, fmt::format("{}: no list: {}", describe(), response.status));
  }

  [[nodiscard]] Status read_range(const std::string& key, std::int64_t offset, std::span<std::byte> into,
                                  std::string& tag) {
    const auto count = static_cast<std::int64_t>(into.size());
    S3Request get = request("GET", key);
    get.headers = {{"range", fmt::format("bytes={}-{}", offset, offset + count - 1)}};
    get.into = into;
    std::int64_t object_bytes = -1;
    get.check = [&](const HttpResponse& response) {
      const ContentRange range = content_range(response);
      object_bytes = range.size;
      if (response.status != 206 || range.first != offset)
        return unavailable("another range than the one asked for");
      if (range.size >= 0 && range.size < offset + count) return Status();  // too short: said below
      const bool whole =
          !response.overflowed && response.received == into.size() && range.last == offset + count - 1;
      return whole ? Status() : unavailable("fewer or more bytes than asked for");
    };
    const HttpResponse response = TS_TRY(client_.send(get));
    if (response.status == 404) return no_object(*this, key);
    if (response.status == 416) {
      return too_short(*this, key, std::max<std::int64_t>(0, content_range(response).size), offset,
                       into.size());
    }
    if (object_bytes >= 0 && object_bytes < offset + count) {
      return too_short(*this, key, object_bytes, offset, into.size());
    }
    tag = response.header("etag");
    return {};
  }

  /// kNotFound: the upload went away before it was complete.
  [[nodiscard]] Status upload(const std::string& key, std::span<const Bytes> pieces, std::int64_t bytes) {
    const std::int64_t part_bytes = std::max(options_.part_bytes, (bytes + kMostParts - 1) / kMostParts);
    const std::int64_t parts = (bytes + part_bytes - 1) / part_bytes;
    const std::string id = TS_TRY(start_upload(key));
    std::vector<std::string> tags(static_cast<std::size_t>(parts));
    Status status = in_parallel(parts, options_.connections, [&](std::int64_t part) {
      return put_part(key, id, part, slice(pieces, part * part_bytes, part_bytes),
                      tags[static_cast<std::size_t>(part)]);
    });
    if (status.ok()) status = complete_upload(key, id, tags);
    if (status.ok()) return status;
    S3Request abort = request("DELETE", key);
    abort.query = {{"uploadId", id}};
    (void)client_.send(abort);  // the first failure is the one to report
    return status;
  }

  [[nodiscard]] Result<std::string> start_upload(const std::string& key) {
    S3Request post = request("POST", key);
    post.query = {{"uploads", ""}};
    std::string id;
    post.check = [&](const HttpResponse& response) -> Status {
      id = TS_TRY(parse_s3_upload_id(response.text));
      return {};
    };
    TS_TRY(checked(post, {}));
    return id;
  }

  [[nodiscard]] Status put_part(const std::string& key, const std::string& id, std::int64_t part,
                                const std::vector<Bytes>& body, std::string& tag) {
    S3Request put = request("PUT", key);
    put.query = {{"partNumber", std::to_string(part + 1)}, {"uploadId", id}};
    put.check = [&](const HttpResponse& response) {
      tag = response.header("etag");
      return tag.empty() ? unavailable("a part without an ETag") : Status();
    };
    return checked(put, body);
  }

  [[nodiscard]] Status complete_upload(const std::string& key, const std::string& id,
                                       const std::vector<std::string>& tags) {
    std::string xml = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    for (std::size_t i = 0; i < tags.size(); ++i) {
      xml +=
          fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, xml_escaped(tags[i]));
    }
    xml += "</CompleteMultipartUpload>";
    S3Request post = request("POST", key);
    post.query = {{"uploadId", id}};
    post.slow_answer = true;                         // the server puts the parts together
    post.check = [](const HttpResponse& response) {  // an answer of 200 may still hold an error
      if (is_s3_document(response.text, "CompleteMultipartUploadResult")) return Status();
      return unavailable("no completion: " + parse_s3_error(response.text).code);
    };
    const Bytes body = std::as_bytes(std::span(xml));
    return checked(post, {&body, 1});
  }

  std::string url_;
  std::string prefix_;  // "" or ends with "/"
  ObjectStoreOptions options_;
  S3Client client_;
};

Status check_options(const ObjectStoreOptions& options) {
  constexpr std::int64_t kLargestPart = std::int64_t{5} << 30;
  const auto refuse = [](const char* field, std::int64_t found, const std::string& expected) {
    return bad_input({"S3 options", field, std::to_string(found), expected, "choose such a value"});
  };
  if (options.part_bytes < 1 || options.part_bytes > kLargestPart) {
    return refuse("part_bytes", options.part_bytes, "1 to 5 GiB");
  }
  if (options.connections < 1 || options.connections > 256)
    return refuse("connections", options.connections, "1 to 256");
  if (options.list_page < 1 || options.list_page > 1000)
    return refuse("list_page", options.list_page, "1 to 1000");
  if (options.retry.tries < 1) return refuse("retry.tries", options.retry.tries, "at least 1");
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> open_object_store(const std::string& url, const ObjectStoreOptions& options) {
  constexpr std::string_view kScheme = "s3://";
  const std::string rest = url.starts_with(kScheme) ? url.substr(kScheme.size()) : "";
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string bucket = rest.substr(0, slash);
  std::string prefix = slash < rest.size() ? rest.substr(slash + 1) : "";
  while (prefix.ends_with('/')) prefix.pop_back();
  if (bucket.size() < 3 || bucket.size() > 63 || !is_key_part(bucket) ||
      !(prefix.empty() || is_key(prefix))) {
    return bad_input(
        {"a store's address", "", url, "s3://bucket or s3://bucket/prefix", "correct the address"});
  }
  TS_TRY(check_options(options));
  S3Settings settings = TS_TRY(find_s3_settings(options.environment, options.profile));
  if (!options.region.empty()) settings.region = options.region;
  if (!options.endpoint.empty()) settings.endpoint = options.endpoint;
  if (!options.ca_bundle.empty()) settings.ca_bundle = options.ca_bundle;
  if (options.addressing != S3Addressing::kAuto) settings.addressing = options.addressing;
  S3Endpoint endpoint = TS_TRY(s3_endpoint(settings, bucket));
  const std::string shown = fmt::format("{}{}{}{}", kScheme, bucket, prefix.empty() ? "" : "/", prefix);
  return std::unique_ptr<Store>(new S3Store(shown, prefix.empty() ? "" : prefix + "/", std::move(settings),
                                            std::move(endpoint), bucket, options));
}

}  // namespace tessera::recovery
