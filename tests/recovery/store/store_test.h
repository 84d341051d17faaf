/// What tests of stores share: bytes, whole objects, and a disk that is full.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

inline std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = mix64(derive_key(seed, i));
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

inline Status put_bytes(Store& store, const std::string& key, const std::vector<std::byte>& bytes) {
  const Bytes piece = bytes;
  return store.put(key, {&piece, 1});
}

inline Result<std::vector<std::byte>> read_all(Store& store, const std::string& key) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(TS_TRY(store.size(key))));
  TS_TRY(store.read(key, 0, bytes));
  return bytes;
}

inline std::vector<std::string> keys_of(Store& store, const std::string& prefix = "") {
  const auto keys = store.list(prefix);
  EXPECT_TRUE(keys.ok()) << keys.status().message();
  return keys.ok() ? keys.value() : std::vector<std::string>();
}

#define EXPECT_OK(expression)                                                                 \
  do {                                                                                        \
    const auto expect_ok_result = (expression);                                               \
    EXPECT_TRUE(expect_ok_result.ok())                                                        \
        << #expression << ": " << ::tessera::internal::status_of(expect_ok_result).message(); \
  } while (false)

/// write() past this many bytes fails with EFBIG, as it does with ENOSPC on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

}  // namespace tessera::recovery
