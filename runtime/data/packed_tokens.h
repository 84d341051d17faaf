/// A TokenSource over packed little-endian integers in a mapped file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algos/base/mapped_file.h"
#include "algos/base/require.h"
#include "runtime/data/token_source.h"

namespace tessera::runtime {

/// Token t lies at byte first_byte + t * sizeof(T). Values outside int32 saturate, so that
/// check_vocabulary finds them.
template <class T>
class PackedTokens final : public TokenSource {
 public:
  PackedTokens(tessera::MappedFile file, std::size_t first_byte, std::int64_t tokens,
               std::vector<std::int64_t> document_starts, std::string description)
      : file_(std::move(file)),
        first_byte_(first_byte),
        tokens_(tokens),
        document_starts_(std::move(document_starts)),
        description_(std::move(description)) {
    const std::size_t end = first_byte_ + static_cast<std::size_t>(tokens_) * sizeof(T);
    TS_REQUIRE(tokens_ >= 0 && end <= file_.bytes().size(), tokens_, first_byte_, file_.bytes().size());
  }

  [[nodiscard]] std::int64_t tokens() const override { return tokens_; }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override {
    const auto count = static_cast<std::int64_t>(out.size());
    TS_REQUIRE(begin >= 0 && begin <= tokens_ && count <= tokens_ - begin, begin, count, tokens_);
    const std::byte* from = file_.bytes().data() + first_byte_ + static_cast<std::size_t>(begin) * sizeof(T);
    for (std::size_t i = 0; i < out.size(); ++i) {
      T value;
      std::memcpy(&value, from + i * sizeof(T), sizeof(T));
      if constexpr (sizeof(T) > 4 || std::is_same_v<T, std::uint32_t>) {
        const auto wide = static_cast<std::int64_t>(value);
        out[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(
            wide, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
      } else {
        out[i] = static_cast<std::int32_t>(value);
      }
    }
  }
  [[nodiscard]] std::span<const std::int64_t> document_starts() const override { return document_starts_; }
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  tessera::MappedFile file_;
  std::size_t first_byte_;
  std::int64_t tokens_;
  std::vector<std::int64_t> document_starts_;
  std::string description_;
};

}  // namespace tessera::runtime
