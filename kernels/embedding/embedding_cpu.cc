#include <algorithm>
#include <cstring>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/embedding/embedding.h"

namespace tessera::kernels {

void embedding_forward(float* y_TD, const float* table_VD, const std::int32_t* token_T, std::int64_t tokens,
                       std::int64_t width) {
  const std::int64_t grain = 1 + 16384 / (1 + width);
  parallel_ranges(tokens, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      std::memcpy(y_TD + t * width, table_VD + token_T[t] * width,
                  static_cast<std::size_t>(width) * sizeof(float));
    }
  });
}

/// Cut over rows of the table, not tokens: two tokens of one row then never meet on two threads, and each
/// row sees its tokens in increasing order whatever the cut. Interleaved, since frequent tokens have
/// neighbouring numbers in most vocabularies.
void embedding_backward(float* d_table_VD, const float* dy_TD, const std::int32_t* token_T,
                        std::int64_t tokens, std::int64_t width, std::int64_t vocabulary) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    TS_REQUIRE(token_T[t] >= 0 && token_T[t] < vocabulary, t, token_T[t], vocabulary);
  }
  constexpr std::int64_t kSmallestShare = 16384;  // floats worth waking a worker for
  constexpr std::int64_t kSharesPerWorker = 4;
  const std::int64_t shares =
      std::clamp<std::int64_t>(tokens * width / kSmallestShare, 1, parallel_threads() * kSharesPerWorker);
  parallel_for(shares, [&](std::int64_t share) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (token_T[t] % shares != share) continue;
      float* __restrict to = d_table_VD + token_T[t] * width;
      const float* __restrict from = dy_TD + t * width;
      for (std::int64_t d = 0; d < width; ++d) to[d] += from[d];
    }
  });
}

}  // namespace tessera::kernels
