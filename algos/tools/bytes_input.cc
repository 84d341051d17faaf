#include "algos/tools/bytes_input.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include <fmt/format.h>

namespace tessera::tools {
namespace {

const std::map<std::string, strings::Method> kMethods = {{"auto", strings::Method::kAuto},
                                                         {"in-place", strings::Method::kInPlace},
                                                         {"linear", strings::Method::kLinear}};

}  // namespace

void declare_input(CLI::App& app, BytesInput& input) {
  auto* file = app.add_option("file", input.file, "file to read; - is standard input")->capture_default_str();
  app.add_option("--text", input.text, "these bytes instead of a file")->excludes(file);
}

Result<std::vector<std::uint8_t>> read_input(const BytesInput& input) {
  if (input.text) return std::vector<std::uint8_t>(input.text->begin(), input.text->end());
  const bool standard = input.file == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> owned(
      standard ? nullptr : std::fopen(input.file.c_str(), "rb"), [](std::FILE* f) { return std::fclose(f); });
  std::FILE* const file = standard ? stdin : owned.get();
  if (file == nullptr) {
    return bad_input({input.file, "", std::strerror(errno), "a readable file",
                      "check the path, or give - for standard input, or --text"},
                     Code::kNotFound);
  }
  std::vector<std::uint8_t> bytes;
  std::uint8_t buffer[1 << 16];
  std::size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), file)) > 0)
    bytes.insert(bytes.end(), buffer, buffer + got);
  if (std::ferror(file) != 0) {
    return bad_input(
        {input.file, "", std::strerror(errno), "a file that can be read to its end", "check the path"},
        Code::kIoError);
  }
  return bytes;
}

void declare_method(CLI::App& app, strings::Method& method) {
  app.add_option("--method", method,
                 "in-place: no memory, n^2 time; linear: libdivsufsort; auto: the faster one for the length")
      ->type_name("auto|in-place|linear")
      ->default_str("auto")
      ->transform(CLI::CheckedTransformer(kMethods).description(""));
}

std::string_view method_name(strings::Method method) {
  for (const auto& [name, value] : kMethods) {
    if (value == method) return name;
  }
  return "auto";
}

std::string escaped(const std::uint8_t* bytes, std::size_t count, std::size_t limit) {
  std::string out;
  const std::size_t shown = limit == 0 || count <= limit ? count : limit;
  for (std::size_t i = 0; i < shown; ++i) {
    const std::uint8_t c = bytes[i];
    if (c == '\\') {
      out += "\\\\";
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("\\x{:02x}", c);
    }
  }
  return shown < count ? out + "..." : out;
}

}  // namespace tessera::tools
