/// AWS Signature Version 4: which bytes of a request are signed, and how. Pure.
/// Source: "Signature Version 4 signing process", AWS General Reference; for S3 the path is encoded once and
/// not normalised, and the payload's SHA-256 is a header.
/// Oracle: AWS's published examples and botocore (tests/recovery/store/sigv4_test.cc).
///
///   Authorization: AWS4-HMAC-SHA256 Credential=AKIA…/20130524/us-east-1/s3/aws4_request,
///                  SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb8…
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "recovery/store/secret.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

/// Names and values, as HTTP headers or as a query.
using Fields = std::vector<std::pair<std::string, std::string>>;

struct SigV4Request {
  std::string method;
  std::string path;            // as sent, encoded
  Fields query;                // not encoded
  Fields headers;              // all of them are signed; "host" and "x-amz-date" are among them
  std::string payload_sha256;  // hexadecimal
};

struct SigV4Scope {
  std::string region;
  std::string service;
  std::string time;  // "20130524T000000Z"
};

/// Everything but letters, digits and "-._~" (and "/" where it stays) as %XX.
[[nodiscard]] std::string uri_encode(std::string_view text, bool encode_slash);
/// "a=1&b=2", encoded and sorted: what is signed, and may be sent.
[[nodiscard]] std::string canonical_query(const Fields& query);
[[nodiscard]] std::string canonical_request(const SigV4Request& request);
/// The value of the Authorization header.
[[nodiscard]] std::string authorization(const SigV4Request& request, const SigV4Scope& scope,
                                        const std::string& access_key_id, const Secret& secret_access_key);

/// "20130524T000000Z" of seconds since 1970.
[[nodiscard]] std::string sigv4_time(std::int64_t unix_seconds);
[[nodiscard]] std::string sha256_hex(std::span<const Bytes> pieces);

}  // namespace tessera::recovery
