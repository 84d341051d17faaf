/// Items as text: one `profit,weight` per line.
///
/// Blank lines and lines that start with # are skipped, as is a first line `profit,weight`; blanks around
/// numbers are allowed. Items count from 0 in the order of their lines.
///
/// Errors         kInvalidArgument with the line number. Integers: decimal, within int64. Reals: decimal and
///                finite. Signs are read; whether a negative number is allowed is the solver's question.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "algos/base/status.h"
#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/xdp.h"

namespace tessera::knapsack {

/// `name` is the file in messages.
Result<std::vector<Item>> parse_items(std::string_view text, std::string_view name);
Result<std::vector<RealItem>> parse_real_items(std::string_view text, std::string_view name);

/// One number with nothing around it, for flags; `name` is the flag in messages.
Result<std::int64_t> parse_integer(std::string_view text, std::string_view name);
Result<double> parse_real(std::string_view text, std::string_view name);

}  // namespace tessera::knapsack
