#include "recovery/store/store_checks.h"

#include <limits>

#include <fmt/format.h>

namespace tessera::recovery {
namespace {

/// Short, and without bytes that would spoil a terminal.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 80)) out += c >= ' ' && c <= '~' ? c : '?';
  return fmt::format("\"{}\"{}", out, text.size() > 80 ? "..." : "");
}

constexpr const char* kKeys =
    "parts of 1 to 255 letters, digits, '.', '_' and '-', joined by '/', 512 characters at most";

}  // namespace

Status check_key(std::string_view key) {
  if (is_key(key)) return {};
  return bad_input({"a store's key", "", shown(key), kKeys, "choose another name for the job or the node"});
}

Status check_key_prefix(std::string_view prefix) {
  if (is_key_prefix(prefix)) return {};
  return bad_input({"the folder of a store's keys", "", shown(prefix),
                    fmt::format("nothing, or {}, and a '/'", kKeys),
                    "choose another name for the job or the node"});
}

Status check_read(std::string_view key, std::int64_t offset, std::size_t bytes) {
  TS_TRY(check_key(key));
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (offset >= 0 && bytes <= static_cast<std::size_t>(kMost - offset)) return {};
  return {Code::kInvalidArgument, fmt::format("a range of {} bytes at {} of {}", bytes, offset, key)};
}

Status no_object(const Store& store, const std::string& key) {
  return {Code::kNotFound, fmt::format("{}: no object {}", store.describe(), key)};
}

Status too_short(const Store& store, const std::string& key, std::int64_t size, std::int64_t offset,
                 std::size_t bytes) {
  return bad_input({fmt::format("{}: {}", store.describe(), key), "",
                    fmt::format("an object of {} bytes", size), fmt::format("{} bytes at {}", bytes, offset),
                    "none needed: restoring takes the data from another place"},
                   Code::kDataLoss);
}

}  // namespace tessera::recovery
