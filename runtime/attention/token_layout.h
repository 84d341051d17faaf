/// Which tokens of the sequence each rank holds. Any length N and any number of ranks n.
///
/// | layout     | rank g holds                                                    | causal balance |
/// |------------|-----------------------------------------------------------------|----------------|
/// | contiguous | [g*N/n, (g+1)*N/n)                                              | max/mean -> 2  |
/// | zigzag     | half chunks g and 2n-1-g of the 2n ranges [h*N/2n, (h+1)*N/2n)  | exact          |
/// | striped    | tokens t with t mod n == g                                      | about 1.01     |
///
/// Ranges are cut with integer division, so sizes differ by at most one token per range and nothing is
/// padded. Zigzag (and contiguous) chunks of u consecutive ranks together are the chunk of one super-rank
/// among n/u, for every N, because floor(h*u*N / 2n) = floor(h*N / (2n/u)): head-parallel layouts stay
/// balanced.
/// Requires  0 <= tokens < 2^31, 0 <= rank < ranks.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::runtime {

enum class TokenLayout : std::uint8_t { kContiguous, kZigzag, kStriped };

[[nodiscard]] std::string_view token_layout_name(TokenLayout layout);
[[nodiscard]] Result<TokenLayout> parse_token_layout(std::string_view text);

/// How many tokens rank g holds; O(1).
[[nodiscard]] std::int64_t token_count(TokenLayout layout, std::int64_t tokens, int ranks, int rank);

/// Positions in the sequence of the tokens of rank g, increasing.
[[nodiscard]] std::vector<std::int32_t> token_positions(TokenLayout layout, std::int64_t tokens, int ranks,
                                                        int rank);

}  // namespace tessera::runtime
