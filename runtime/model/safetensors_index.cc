#include "runtime/model/safetensors_index.h"

#include <limits>
#include <set>

#include <nlohmann/json.hpp>

namespace tessera::runtime {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 8;  // the format nests 2 deep; metadata may hold more

Status refuse(const std::string& file, const std::string& field, const std::string& found,
              const std::string& expected) {
  return bad_input({file, field, found, expected, "copy the file again"});
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos &&
         name != "." && name != "..";
}

}  // namespace

Result<SafetensorsIndex> parse_safetensors_index(std::string_view text, const std::string& file_name) {
  // The parser keeps the last of two equal names; the callback sees both. What nests deeper than any index is
  // dropped and refused: printing it would recurse.
  bool deep = false;
  std::string field;
  std::set<std::string> names;
  std::string twice;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    deep = deep || depth > kMaxDepth;
    if (event == json::parse_event_t::key && depth == 1) field = value.get<std::string>();
    if (event == json::parse_event_t::key && depth == 2 && field == "weight_map" &&
        !names.insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return depth <= kMaxDepth;
  };
  const json tree = json::parse(text, watch, /*allow_exceptions=*/false);
  if (deep || tree.is_discarded() || !tree.is_object()) {
    return refuse(file_name, "", "text that is not such an object", "a JSON object with a weight_map");
  }
  if (!tree.contains("weight_map") || !tree["weight_map"].is_object()) {
    return refuse(file_name, "weight_map", tree.contains("weight_map") ? "no object" : "nothing",
                  "an object that maps tensor names to files");
  }
  if (!twice.empty()) return refuse(file_name, "weight_map." + twice, "the name twice", "each tensor once");
  SafetensorsIndex index;
  for (const auto& [tensor, value] : tree["weight_map"].items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    if (!is_plain_name(name)) {
      return refuse(file_name, "weight_map." + tensor, value.dump(-1, ' ', true),
                    "the name of a file beside the index");
    }
    index.file_of.emplace(tensor, name);
  }
  if (tree.contains("metadata") && tree["metadata"].is_object() && tree["metadata"].contains("total_size")) {
    const json& size = tree["metadata"]["total_size"];
    // Some writers put a float here; nothing depends on it.
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (size.is_number_unsigned() && size.get<std::uint64_t>() <= kMost) {
      index.total_size = size.get<std::int64_t>();
    }
  }
  return index;
}

std::string to_json(const SafetensorsIndex& index) {
  nlohmann::ordered_json tree;
  tree["metadata"]["total_size"] = index.total_size;
  tree["weight_map"] = json(index.file_of);
  return tree.dump(2) + "\n";
}

}  // namespace tessera::runtime
