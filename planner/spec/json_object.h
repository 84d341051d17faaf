/// Reads fields of a foreign JSON object: types, ranges and names are checked, and each refusal is a
/// Complaint that names file, dotted path, what was found, what was expected and what to do.
///
/// An absent or null field keeps its default unless it is required.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "algos/base/status.h"

namespace tessera::planner {

using Json = nlohmann::json;

/// One JSON object of at most 256 MiB, nested at most 64 deep (printing a wrong value recurses).
/// `expected` and `remedy` complete the message.
[[nodiscard]] Result<Json> parse_json_object(const std::string& text, const std::string& file,
                                             const std::string& expected, const std::string& remedy);

/// The whole file as text; kNotFound with the same completion.
[[nodiscard]] Result<std::string> read_text_file(const std::string& path, const std::string& expected,
                                                 const std::string& remedy);

/// A value as the user wrote it, short enough for one line.
[[nodiscard]] std::string shown(const Json& value);

/// The order of 2^53: integers beyond it are not exact in every JSON reader.
inline constexpr std::int64_t kLargestInteger = std::int64_t{1} << 53;

class JsonObject {
 public:
  /// `json` must be an object and outlive this. `path` is its dotted path with the final dot, or empty.
  JsonObject(const Json& json, std::string file, std::string path, std::string remedy)
      : json_(&json), file_(std::move(file)), path_(std::move(path)), remedy_(std::move(remedy)) {}

  [[nodiscard]] bool has(const char* name) const;
  [[nodiscard]] const Json& at(const char* name) const { return *json_->find(name); }
  [[nodiscard]] std::string path(const char* name) const { return path_ + name; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::string& remedy() const { return remedy_; }

  [[nodiscard]] Status refuse(const char* name, const std::string& expected) const;
  [[nodiscard]] Status refuse(const char* name, const std::string& expected, const std::string& remedy) const;

  /// Refuses every field that is not listed, with the nearest listed name.
  [[nodiscard]] Status only(std::initializer_list<const char*> names) const;

  template <class Int>
  [[nodiscard]] Status integer(const char* name, std::int64_t least, std::int64_t greatest, Int& value,
                               bool required = false) const {
    std::int64_t wide = static_cast<std::int64_t>(value);
    TS_TRY(wide_integer(name, least, greatest, wide, required));
    value = static_cast<Int>(wide);
    return {};
  }
  /// least <= value <= greatest.
  [[nodiscard]] Status real(const char* name, double least, double greatest, double& value,
                            bool required = false) const;
  [[nodiscard]] Status text(const char* name, std::string& value, bool required = false) const;
  [[nodiscard]] Status boolean(const char* name, bool& value) const;
  /// The object of that name, which must be there.
  [[nodiscard]] Result<JsonObject> object(const char* name) const;
  /// The objects of an array of objects; none when absent and not required.
  [[nodiscard]] Result<std::vector<JsonObject>> objects(const char* name, bool required = false) const;
  /// An array of integers in a range.
  [[nodiscard]] Result<std::vector<std::int64_t>> integers(const char* name, std::int64_t least,
                                                           std::int64_t greatest) const;

 private:
  [[nodiscard]] Status wide_integer(const char* name, std::int64_t least, std::int64_t greatest,
                                    std::int64_t& value, bool required) const;
  const Json* json_;
  std::string file_;
  std::string path_;
  std::string remedy_;
};

}  // namespace tessera::planner
