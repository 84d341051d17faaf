#include "kernels/embedding/embedding_order.h"

#include <algorithm>
#include <limits>

#include "algos/base/require.h"

namespace tessera::kernels {

EmbeddingOrder embedding_order(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t rows) {
  TS_REQUIRE(rows >= 0 && std::ssize(tokens) <= std::numeric_limits<std::int32_t>::max(), rows,
             tokens.size());
  EmbeddingOrder order;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const std::int64_t row = tokens[t] - first;
    if (0 <= row && row < rows) order.token.push_back(static_cast<std::int32_t>(t));
  }
  const auto token_at = [&](std::int32_t t) { return tokens[static_cast<std::size_t>(t)]; };
  std::ranges::stable_sort(order.token, {}, token_at);

  for (auto begin = order.token.begin(); begin != order.token.end();) {
    const std::int32_t token = token_at(*begin);
    const auto end =
        std::ranges::find_if(begin, order.token.end(), [&](std::int32_t t) { return token_at(t) != token; });
    const auto row = static_cast<std::int32_t>(token - first);
    const auto count = static_cast<std::int32_t>(end - begin);
    const bool split = count > kStripTokens;
    if (split) {
      const std::int32_t slots = (count + kStripTokens - 1) / kStripTokens;
      order.sums.push_back({row, static_cast<std::int32_t>(order.slots), slots});
    }
    for (std::int32_t done = 0; done < count; done += kStripTokens) {
      order.strips.push_back({row, static_cast<std::int32_t>(begin - order.token.begin()) + done,
                              std::min(kStripTokens, count - done),
                              split ? static_cast<std::int32_t>(order.slots++) : -1});
    }
    begin = end;
  }
  return order;
}

}  // namespace tessera::kernels
