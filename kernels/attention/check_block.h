/// What both passes require of a block before they touch its memory.
#pragma once

#include "algos/base/require.h"
#include "kernels/attention/attention.h"

namespace tessera::kernels {

inline void check_block(const AttentionBlock& block) {
  TS_REQUIRE(block.head_dim >= 1 && block.head_dim <= 256, block.head_dim);
  TS_REQUIRE(block.kv_heads >= 1 && block.heads >= 1 && block.heads % block.kv_heads == 0, block.heads,
             block.kv_heads);
  TS_REQUIRE(block.q_stride >= static_cast<std::int64_t>(block.heads) * block.head_dim, block.q_stride,
             block.heads, block.head_dim);
  TS_REQUIRE(block.kv_stride >= static_cast<std::int64_t>(block.kv_heads) * block.head_dim, block.kv_stride,
             block.kv_heads, block.head_dim);
  TS_REQUIRE(block.mask.q_position != nullptr && block.mask.k_position != nullptr);
  TS_REQUIRE((block.mask.q_document == nullptr) == (block.mask.k_document == nullptr));
  TS_REQUIRE(block.dropout.probability >= 0 && block.dropout.probability < 1, block.dropout.probability);
}

}  // namespace tessera::kernels
