#include "runtime/attention/token_layout.h"

#include <limits>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

/// First position of range h when `tokens` are cut into `ranges`.
std::int64_t cut(std::int64_t h, std::int64_t tokens, std::int64_t ranges) { return h * tokens / ranges; }

void append_range(std::vector<std::int32_t>& positions, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t) positions.push_back(static_cast<std::int32_t>(t));
}

void require_rank(std::int64_t tokens, int ranks, int rank) {
  TS_REQUIRE(tokens >= 0 && tokens <= std::numeric_limits<std::int32_t>::max(), tokens);
  TS_REQUIRE(rank >= 0 && rank < ranks, rank, ranks);
}

}  // namespace

std::string_view token_layout_name(TokenLayout layout) {
  switch (layout) {
    case TokenLayout::kContiguous: return "contiguous";
    case TokenLayout::kZigzag: return "zigzag";
    case TokenLayout::kStriped: return "striped";
  }
  return "unknown";
}

Result<TokenLayout> parse_token_layout(std::string_view text) {
  for (const TokenLayout layout : {TokenLayout::kContiguous, TokenLayout::kZigzag, TokenLayout::kStriped}) {
    if (text == token_layout_name(layout)) return layout;
  }
  return bad_input(
      {.file = "",
       .field = "token layout",
       .found = fmt::format("'{}'", text),
       .expected = "contiguous, zigzag or striped",
       .remedy = "zigzag balances causal attention exactly; use it unless you measured otherwise"});
}

std::int64_t token_count(TokenLayout layout, std::int64_t tokens, int ranks, int rank) {
  require_rank(tokens, ranks, rank);
  const std::int64_t n = ranks;
  const std::int64_t g = rank;
  switch (layout) {
    case TokenLayout::kContiguous: return cut(g + 1, tokens, n) - cut(g, tokens, n);
    case TokenLayout::kZigzag:
      return cut(g + 1, tokens, 2 * n) - cut(g, tokens, 2 * n) + cut(2 * n - g, tokens, 2 * n) -
             cut(2 * n - 1 - g, tokens, 2 * n);
    case TokenLayout::kStriped: return (tokens - g + n - 1) / n;
  }
  return 0;
}

std::vector<std::int32_t> token_positions(TokenLayout layout, std::int64_t tokens, int ranks, int rank) {
  std::vector<std::int32_t> positions;
  positions.reserve(static_cast<std::size_t>(token_count(layout, tokens, ranks, rank)));
  const std::int64_t n = ranks;
  const std::int64_t g = rank;
  switch (layout) {
    case TokenLayout::kContiguous: append_range(positions, cut(g, tokens, n), cut(g + 1, tokens, n)); break;
    case TokenLayout::kZigzag:
      append_range(positions, cut(g, tokens, 2 * n), cut(g + 1, tokens, 2 * n));
      append_range(positions, cut(2 * n - 1 - g, tokens, 2 * n), cut(2 * n - g, tokens, 2 * n));
      break;
    case TokenLayout::kStriped:
      for (std::int64_t t = g; t < tokens; t += n) positions.push_back(static_cast<std::int32_t>(t));
      break;
  }
  return positions;
}

}  // namespace tessera::runtime
