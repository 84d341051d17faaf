#include "algos/tools/bwt_command.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/strings/bwt.h"
#include "algos/strings/inverse_bwt.h"
#include "algos/tools/bytes_input.h"

namespace tessera::tools {
namespace {

constexpr std::size_t kShown = 256;  // bytes on a terminal; --output has them all

struct Options {
  BytesInput input;
  strings::Method method = strings::Method::kAuto;
  std::size_t inverse = 0;
  bool invert = false;
  std::string output;
  bool json = false;
};

Status write_bytes(const std::string& path, const std::vector<std::uint8_t>& bytes) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  bool written = file != nullptr;
  if (written) {
    written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    written = std::fclose(file) == 0 && written;
  }
  if (written) return {};
  return bad_input({path, "", std::strerror(errno), "a file that can be written", "choose another --output"},
                   Code::kIoError);
}

std::string hex(const std::vector<std::uint8_t>& bytes) {
  std::string out;
  out.reserve(2 * bytes.size());
  for (const std::uint8_t c : bytes) {
    out += "0123456789abcdef"[c >> 4];
    out += "0123456789abcdef"[c & 15];
  }
  return out;
}

std::size_t runs(const std::vector<std::uint8_t>& bytes) {
  std::size_t count = bytes.empty() ? 0 : 1;
  for (std::size_t i = 1; i < bytes.size(); ++i) count += bytes[i] != bytes[i - 1] ? 1 : 0;
  return count;
}

Status run(const Options& options) {
  std::vector<std::uint8_t> bytes = TS_TRY(read_input(options.input));
  nlohmann::ordered_json answer;
  if (options.invert) {
    bytes = TS_TRY(strings::inverse_bwt(std::span<const std::uint8_t>(bytes), options.inverse));
    answer["bytes"] = bytes.size();
    answer["primary_index"] = options.inverse;
  } else {
    const std::size_t runs_before = runs(bytes);
    strings::Method method = options.method;
    if (method == strings::Method::kAuto) method = strings::chosen_method(bytes.size(), false);
    const std::size_t primary = TS_TRY(strings::bwt(bytes, method));
    answer["bytes"] = bytes.size();
    answer["primary_index"] = primary;
    answer["method"] = method_name(method);
    answer["runs_before"] = runs_before;
    answer["runs_after"] = runs(bytes);
  }
  const std::string_view name = options.invert ? "text" : "transform";
  if (!options.output.empty()) {
    if (Status status = write_bytes(options.output, bytes); !status.ok()) return status;
    answer["output"] = options.output;
  }
  if (options.json) {
    if (options.output.empty()) answer[std::string(name) + "_hex"] = hex(bytes);
    fmt::print("{}\n", answer.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return {};
  }
  for (const auto& [key, value] : answer.items()) {
    fmt::print("{:<14} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (options.output.empty()) fmt::print("{:<14} {}\n", name, escaped(bytes.data(), bytes.size(), kShown));
  return {};
}

}  // namespace

Command add_bwt_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("bwt", "Burrows-Wheeler transform of bytes, and back");
  auto options = std::make_shared<Options>();
  declare_input(*app, options->input);
  auto* inverse = app->add_option("--inverse", options->inverse,
                                  "the input is a transform with this primary index: give back its text")
                      ->type_name("INDEX");
  declare_method(*app, options->method);
  app->add_option("--output", options->output, "write the resulting bytes here")->type_name("FILE");
  app->add_flag("--json", options->json, "print one JSON object; bytes as hexadecimal unless --output");
  app->footer(
      fmt::format("Rows and index as libdivsufsort's divbwt. Readable output shows the first {} bytes.\n\n"
                  "  tessera-algos bwt --text banana\n"
                  "  tessera-algos bwt notes.txt --output notes.bwt --json\n"
                  "  tessera-algos bwt notes.bwt --inverse 1234 --output notes.again",
                  kShown));
  return {app, [options, inverse] {
            options->invert = inverse->count() > 0;
            return run(*options);
          }};
}

}  // namespace tessera::tools
