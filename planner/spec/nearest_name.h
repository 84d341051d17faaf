/// "Did you mean": the candidate closest to a misspelt name.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tessera::planner {

/// By Levenshtein distance, letter case ignored; "" when nothing is nearer than 4 edits and the name's
/// length.
[[nodiscard]] std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace tessera::planner
