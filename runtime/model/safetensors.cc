#include "runtime/model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace tessera::runtime {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the safetensors library
constexpr int kMaxDepth = 8;                            // a well-formed header needs 3
const char* const kRemedy = "the file is damaged or cut off: copy or export it again";

struct Refused {
  std::string field;
  std::string found;
  std::string expected;
};

/// Bytes per element; 0 for an unknown type.
std::uint64_t type_bytes(const std::string& type) {
  if (type == "F64" || type == "I64" || type == "U64") return 8;
  if (type == "F32" || type == "I32" || type == "U32") return 4;
  if (type == "BF16" || type == "F16" || type == "I16" || type == "U16") return 2;
  if (type == "I8" || type == "U8" || type == "BOOL" || type == "F8_E4M3" || type == "F8_E5M2") return 1;
  return 0;
}

/// Refuses what a JSON library would silently accept: a name twice in one object, and deep nesting.
class StrictKeys {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (depth > kMaxDepth) {
      throw Refused{"header", "deeply nested JSON", "one object per tensor"};
    }
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      if (!keys_.back().insert(name).second) throw Refused{name, "the name twice", "each name once"};
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

bool is_size(const Json& value) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

SafetensorsEntry read_entry(const std::string& name, const Json& json, std::uint64_t data_bytes) {
  const auto refuse = [&name](const std::string& field, std::string found, std::string expected) {
    throw Refused{"tensor " + name + field, std::move(found), std::move(expected)};
  };
  if (!json.is_object()) refuse("", json.type_name(), "an object with dtype, shape and data_offsets");
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!json.contains(field)) refuse(std::string(".") + field, "nothing", "dtype, shape and data_offsets");
  }
  SafetensorsEntry entry;
  entry.name = name;
  const Json& dtype = json["dtype"];
  if (dtype.is_string()) entry.type = dtype.get<std::string>();
  const std::uint64_t width = type_bytes(entry.type);
  if (width == 0) {
    refuse(".dtype", dtype.is_string() ? entry.type : dtype.type_name(),
           "F32, BF16, F16 or another known type");
  }
  const Json& shape = json["shape"];
  if (!shape.is_array()) refuse(".shape", shape.type_name(), "a list of sizes");
  std::uint64_t bytes = width;
  for (const Json& dim : shape) {
    if (!is_size(dim)) refuse(".shape", dim.dump(), "sizes of at least 0");
    entry.shape.push_back(dim.get<std::int64_t>());
    if (__builtin_mul_overflow(bytes, dim.get<std::uint64_t>(), &bytes)) {
      refuse(".shape", fmt::format("{}", entry.shape), "a product below 2^64 bytes");
    }
  }
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !is_size(offsets[0]) || !is_size(offsets[1])) {
    refuse(".data_offsets", offsets.type_name(), "two byte offsets");
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes) {
    refuse(".data_offsets", fmt::format("[{}, {}]", entry.begin, entry.end),
           fmt::format("a range inside the file's {} bytes of data", data_bytes));
  }
  if (entry.end - entry.begin != bytes) {
    refuse(".data_offsets", fmt::format("{} bytes", entry.end - entry.begin),
           fmt::format("{} bytes: shape {} of {}", bytes, entry.shape, entry.type));
  }
  return entry;
}

SafetensorsHeader parse(std::span<const std::byte> bytes) {
  static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");
  if (bytes.size() < kLengthBytes) {
    throw Refused{"header length", fmt::format("{} bytes", bytes.size()), "at least 8 bytes"};
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const std::uint64_t most = std::min<std::uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes);
  if (length < 2 || length > most) {
    throw Refused{"header length", fmt::format("{}", length), fmt::format("2 to {} bytes", most)};
  }
  const char* const text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  Json json;
  try {
    json = Json::parse(text, text + length, StrictKeys());
  } catch (const Json::exception& error) {
    throw Refused{"header", fmt::format("text that is no JSON: {}", error.what()), "a JSON object"};
  }
  if (!json.is_object()) throw Refused{"header", json.type_name(), "a JSON object"};
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + length;
  const std::uint64_t data_bytes = bytes.size() - header.data_begin;
  for (const auto& [name, entry] : json.items()) {
    if (name != "__metadata__") header.tensors.push_back(read_entry(name, entry, data_bytes));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.begin != at) {
      throw Refused{"tensor " + entry.name + ".data_offsets", fmt::format("a start at {}", entry.begin),
                    fmt::format("{}, where the tensor before it ends", at)};
    }
    at = entry.end;
  }
  if (at != data_bytes) {
    throw Refused{"length", fmt::format("{} bytes of data", data_bytes),
                  fmt::format("{} bytes, as the header says", at)};
  }
  return header;
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes, const std::string& file_name) {
  try {
    return parse(bytes);
  } catch (const Refused& refused) {
    return bad_input({.file = file_name,
                      .field = refused.field,
                      .found = refused.found,
                      .expected = refused.expected,
                      .remedy = kRemedy});
  }
}

std::string safetensors_header(std::span<const SafetensorsEntry> tensors) {
  nlohmann::ordered_json json;
  json["__metadata__"] = {{"format", "pt"}};
  for (const SafetensorsEntry& entry : tensors) {
    json[entry.name] = {
        {"dtype", entry.type}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::string result(kLengthBytes, '\0');
  std::memcpy(result.data(), &length, sizeof(length));
  return result + text;
}

}  // namespace tessera::runtime
