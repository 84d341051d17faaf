/// Numbers and texts as bytes, for messages between ranks of one build: no versions, the machine's byte
/// order.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "algos/base/require.h"

namespace tessera::recovery {

class ByteWriter {
 public:
  template <std::integral T>
  void number(T value) {
    const std::size_t end = bytes_.size();
    bytes_.resize(end + sizeof(T));
    std::memcpy(bytes_.data() + end, &value, sizeof(T));
  }
  void text(const std::string& value) {
    number(static_cast<std::uint64_t>(value.size()));
    const auto view = std::as_bytes(std::span(value));
    bytes_.insert(bytes_.end(), view.begin(), view.end());
  }
  [[nodiscard]] std::vector<std::byte>&& take() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <std::integral T>
  [[nodiscard]] T number() {
    T value{};
    std::memcpy(&value, cut(sizeof(T)).data(), sizeof(T));
    return value;
  }
  [[nodiscard]] std::string text() {
    const auto view = cut(number<std::uint64_t>());
    return {reinterpret_cast<const char*>(view.data()), view.size()};
  }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::byte> cut(std::size_t count) {
    TS_REQUIRE(count <= rest_.size(), count, rest_.size());
    const auto head = rest_.first(count);
    rest_ = rest_.subspan(count);
    return head;
  }
  std::span<const std::byte> rest_;
};

}  // namespace tessera::recovery
