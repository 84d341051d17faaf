#include "recovery/store/sigv4.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <memory>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

std::string hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::string hmac(std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  const void* done =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &size);
  TS_REQUIRE(done != nullptr);
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string sha256_hex(std::string_view text) {
  const Bytes piece = std::as_bytes(std::span(text.data(), text.size()));
  return recovery::sha256_hex({&piece, 1});
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Without spaces at the ends, and one where there are several.
std::string trimmed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

Fields canonical_headers(const Fields& headers) {
  Fields out;
  for (const auto& [name, value] : headers) out.emplace_back(lower(name), trimmed(value));
  std::sort(out.begin(), out.end());
  return out;
}

std::string signed_headers(const Fields& canonical) {
  std::string names;
  for (const auto& [name, value] : canonical) names += (names.empty() ? "" : ";") + name;
  return names;
}

}  // namespace

std::string uri_encode(std::string_view text, bool encode_slash) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (std::isalnum(byte) != 0 && byte < 128) || c == '-' || c == '.' || c == '_' ||
                       c == '~' || (c == '/' && !encode_slash);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

std::string canonical_query(const Fields& query) {
  Fields encoded;
  for (const auto& [name, value] : query)
    encoded.emplace_back(uri_encode(name, true), uri_encode(value, true));
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded)
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", name, value);
  return text;
}

std::string canonical_request(const SigV4Request& request) {
  const Fields headers = canonical_headers(request.headers);
  std::string text =
      fmt::format("{}\n{}\n{}\n", request.method, request.path, canonical_query(request.query));
  for (const auto& [name, value] : headers) text += fmt::format("{}:{}\n", name, value);
  return text + fmt::format("\n{}\n{}", signed_headers(headers), request.payload_sha256);
}

std::string authorization(const SigV4Request& request, const SigV4Scope& scope,
                          const std::string& access_key_id, const Secret& secret_access_key) {
  TS_REQUIRE(scope.time.size() == 16, scope.time);
  const std::string date = scope.time.substr(0, 8);
  const std::string credential = fmt::format("{}/{}/{}/aws4_request", date, scope.region, scope.service);
  const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", scope.time, credential,
                                          sha256_hex(canonical_request(request)));
  std::string key = "AWS4" + secret_access_key.reveal();
  for (const std::string& part : {date, scope.region, scope.service, std::string("aws4_request")}) {
    key = hmac(key, part);
  }
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", access_key_id,
                     credential, signed_headers(canonical_headers(request.headers)),
                     hexadecimal(hmac(key, to_sign)));
}

std::string sigv4_time(std::int64_t unix_seconds) {
  const std::time_t time = unix_seconds;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  std::array<char, 17> text{};
  std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &utc);
  return text.data();
}

std::string sha256_hex(std::span<const Bytes> pieces) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  bool ok = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const Bytes piece : pieces)
    ok = ok && EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
  ok = ok && EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1;
  TS_REQUIRE(ok);
  return hexadecimal({reinterpret_cast<const char*>(out.data()), size});
}

}  // namespace tessera::recovery
