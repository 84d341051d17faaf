#include "planner/spec/json_object.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "planner/spec/nearest_name.h"

namespace tessera::planner {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
constexpr int kMaxDepth = 64;
struct TooDeep {};

}  // namespace

Result<Json> parse_json_object(const std::string& text, const std::string& file, const std::string& expected,
                               const std::string& remedy) {
  if (text.size() > kMaxBytes) {
    return bad_input({file, "", fmt::format("{} bytes", text.size()), expected, remedy});
  }
  Json object;
  try {
    object = Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
      if (depth > kMaxDepth) throw TooDeep{};
      return true;
    });
  } catch (const TooDeep&) {
    return bad_input({file, "", fmt::format("JSON nested more than {} deep", kMaxDepth), expected, remedy});
  } catch (const Json::exception& e) {
    return bad_input({file, "", e.what(), expected, remedy});
  }
  if (!object.is_object()) {
    return bad_input({file, "", fmt::format("JSON of type {}", object.type_name()), expected, remedy});
  }
  return object;
}

Result<std::string> read_text_file(const std::string& path, const std::string& expected,
                                   const std::string& remedy) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.is_open() || in.bad()) {
    return bad_input({path, "", "no readable file", expected, remedy}, Code::kNotFound);
  }
  return text;
}

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t kLongest = 60;
  if (text.size() > kLongest) {
    std::size_t end = kLongest;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // whole UTF-8 only
    text = text.substr(0, end) + "...";
  }
  return text;
}

bool JsonObject::has(const char* name) const {
  const auto at = json_->find(name);
  return at != json_->end() && !at->is_null();
}

Status JsonObject::refuse(const char* name, const std::string& expected) const {
  return refuse(name, expected, remedy_);
}

Status JsonObject::refuse(const char* name, const std::string& expected, const std::string& remedy) const {
  return bad_input(
      {file_, path_ + name, json_->contains(name) ? shown(at(name)) : "nothing", expected, remedy});
}

Status JsonObject::only(std::initializer_list<const char*> names) const {
  const std::vector<std::string> known(names.begin(), names.end());
  for (const auto& [name, value] : json_->items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string nearest = nearest_name(name, known);
    return bad_input({file_, path_ + shown(Json(name)), "a field of this name",
                      fmt::format("only {}", fmt::join(known, ", ")),
                      nearest.empty() ? "remove it" : fmt::format("did you mean {}?", nearest)});
  }
  return {};
}

Status JsonObject::wide_integer(const char* name, std::int64_t least, std::int64_t greatest,
                                std::int64_t& value, bool required) const {
  const std::string expected = fmt::format("an integer from {} to {}", least, greatest);
  if (!has(name)) return required ? refuse(name, expected) : Status();
  const Json& found = at(name);
  if (!found.is_number_integer()) return refuse(name, expected);
  // An unsigned number above the signed range would wrap to a negative one.
  if (found.is_number_unsigned() &&
      found.get<std::uint64_t>() > static_cast<std::uint64_t>(std::max<std::int64_t>(greatest, 0))) {
    return refuse(name, expected);
  }
  const auto number = found.get<std::int64_t>();
  if (number < least || number > greatest) return refuse(name, expected);
  value = number;
  return {};
}

Status JsonObject::real(const char* name, double least, double greatest, double& value, bool required) const {
  const std::string expected = fmt::format("a number from {} to {}", least, greatest);
  if (!has(name)) return required ? refuse(name, expected) : Status();
  if (!at(name).is_number()) return refuse(name, expected);
  const auto number = at(name).get<double>();
  if (!(number >= least && number <= greatest)) return refuse(name, expected);
  value = number;
  return {};
}

Status JsonObject::text(const char* name, std::string& value, bool required) const {
  constexpr std::size_t kLongest = 4096;
  const char* const expected = "a text of 1 to 4096 bytes";
  if (!has(name)) return required ? refuse(name, expected) : Status();
  if (!at(name).is_string()) return refuse(name, expected);
  const auto& found = at(name).get_ref<const std::string&>();
  if (found.empty() || found.size() > kLongest) return refuse(name, expected);
  value = found;
  return {};
}

Status JsonObject::boolean(const char* name, bool& value) const {
  if (!has(name)) return {};
  if (!at(name).is_boolean()) return refuse(name, "true or false");
  value = at(name).get<bool>();
  return {};
}

Result<JsonObject> JsonObject::object(const char* name) const {
  if (!has(name) || !at(name).is_object()) return refuse(name, "an object");
  return JsonObject(at(name), file_, path_ + name + ".", remedy_);
}

Result<std::vector<JsonObject>> JsonObject::objects(const char* name, bool required) const {
  std::vector<JsonObject> found;
  if (!has(name) && !required) return found;
  if (!has(name) || !at(name).is_array()) return refuse(name, "a list of objects");
  for (std::size_t i = 0; i < at(name).size(); ++i) {
    const Json& element = at(name)[i];
    const std::string path = fmt::format("{}{}[{}]", path_, name, i);
    if (!element.is_object()) return bad_input({file_, path, shown(element), "an object", remedy_});
    found.emplace_back(element, file_, path + ".", remedy_);
  }
  return found;
}

Result<std::vector<std::int64_t>> JsonObject::integers(const char* name, std::int64_t least,
                                                       std::int64_t greatest) const {
  const std::string expected = fmt::format("a list of integers from {} to {}", least, greatest);
  if (!has(name) || !at(name).is_array()) return refuse(name, expected);
  std::vector<std::int64_t> found;
  for (const Json& element : at(name)) {
    const bool whole = element.is_number_integer() &&
                       !(element.is_number_unsigned() &&
                         element.get<std::uint64_t>() > static_cast<std::uint64_t>(kLargestInteger));
    if (!whole || element.get<std::int64_t>() < least || element.get<std::int64_t>() > greatest) {
      return refuse(name, expected);
    }
    found.push_back(element.get<std::int64_t>());
  }
  return found;
}

}  // namespace tessera::planner
