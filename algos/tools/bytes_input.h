/// Bytes for a sub-command: a literal, a file, or standard input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"
#include "algos/strings/bwt.h"

namespace tessera::tools {

struct BytesInput {
  std::string file = "-";
  std::optional<std::string> text;
};

void declare_input(CLI::App& app, BytesInput& input);
Result<std::vector<std::uint8_t>> read_input(const BytesInput& input);

/// --method auto|in-place|linear
void declare_method(CLI::App& app, strings::Method& method);
std::string_view method_name(strings::Method method);

/// Printable ASCII as it is, the rest as \xNN, the backslash doubled; at most `limit` bytes (0: all), then
/// "...".
std::string escaped(const std::uint8_t* bytes, std::size_t count, std::size_t limit);

}  // namespace tessera::tools
