/// A manifest with the checksum that belongs to it, so that a test reaches what lies behind the checksum.
#pragma once

#include <string>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tessera::test {

/// `Json`: nlohmann::json or ordered_json, as the manifest's writer has its fields.
template <class Json>
std::string sealed(Json json) {
  json.erase("xxh64");
  const std::string text = json.dump();
  json["xxh64"] = fmt::format("{:016x}", XXH64(text.data(), text.size(), 0));
  return json.dump();
}

/// Of text that is a JSON object; "" for other text and where it nests too deep: printing it recurses.
template <class Json>
std::string sealed_text(const std::string& text) {
  constexpr int kDeepest = 32;
  bool deep = false;
  const auto watch = [&](int depth, typename Json::parse_event_t /*event*/, const Json& /*parsed*/) {
    deep = deep || depth > kDeepest;
    return depth <= kDeepest;
  };
  const Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  return deep || !json.is_object() ? "" : sealed(json);
}

}  // namespace tessera::test
