/// Store: named objects of bytes, whole or absent. Node memory, node disk, a shared directory, S3: one
/// interface, one conformance suite (tests/recovery/store/conformance.h).
///
/// Keys      recovery/state/store_key.h says which; another key is kInvalidArgument, whatever the store. No
///           object is the folder of another ("a" beside "a/b"): a store of files cannot hold both.
/// Threads   any number may call at once.
/// Errors    kNotFound: no such object. kResourceExhausted: budget, disk or quota. kUnavailable,
///           kDeadlineExceeded: the service, after the retries its own policy allows. kDataLoss: bytes came
///           that cannot be right. Messages name the store and the key, never a secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::recovery {

using Bytes = std::span<const std::byte>;

class Store {
 public:
  virtual ~Store() = default;
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// For people: "node memory /dev/shm/tessera (512 MiB)", "s3://bucket/prefix at localhost:9000".
  [[nodiscard]] virtual std::string describe() const = 0;

  /// The pieces one after the other become the object; readers see the former object or this one, never a
  /// part. On failure the former object is still there. Survives what the store promises to survive once it
  /// returns.
  [[nodiscard]] virtual Status put(const std::string& key, std::span<const Bytes> pieces) = 0;
  [[nodiscard]] virtual Result<std::int64_t> size(const std::string& key) = 0;
  /// Fills `into` from `offset`; kDataLoss when the object ends before.
  [[nodiscard]] virtual Status read(const std::string& key, std::int64_t offset,
                                    std::span<std::byte> into) = 0;
  /// Keys that begin with `prefix` ("" or a key followed by "/"), sorted.
  [[nodiscard]] virtual Result<std::vector<std::string>> list(std::string_view prefix) = 0;
  /// An absent object is no error.
  [[nodiscard]] virtual Status remove(const std::string& key) = 0;
};

}  // namespace tessera::recovery
