/// What the coordinates of a run of tokens prove about all its pairs with another run, without looking at a
/// pair. Kernels skip tiles by it, on every device.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tessera::kernels {

struct alignas(16) TokenRange {
  std::int32_t position_min = 0;
  std::int32_t position_max = 0;
  std::int32_t document_min = 0;
  std::int32_t document_max = 0;
};

/// The range of both runs together.
[[nodiscard]] constexpr TokenRange join(const TokenRange& a, const TokenRange& b) {
  return {std::min(a.position_min, b.position_min), std::max(a.position_max, b.position_max),
          std::min(a.document_min, b.document_min), std::max(a.document_max, b.document_max)};
}

enum class Cover { kEmpty, kPartial, kFull };

/// What the ranges prove about all pairs (query in q, key in k), by the rules of BlockMask (attention.h).
/// kPartial where they prove nothing.
[[nodiscard]] constexpr Cover cover(bool causal, std::int32_t window, const TokenRange& q,
                                    const TokenRange& k) {
  // 64 bits: differences of extreme positions must not wrap.
  const std::int64_t least = static_cast<std::int64_t>(q.position_min) - k.position_max;
  const std::int64_t most = static_cast<std::int64_t>(q.position_max) - k.position_min;
  if (q.document_max < k.document_min || q.document_min > k.document_max) return Cover::kEmpty;
  if (causal && most < 0) return Cover::kEmpty;
  if (window != 0 && (least >= window || -most >= window)) return Cover::kEmpty;
  const bool one_document = q.document_min == k.document_max && q.document_max == k.document_min;
  const bool past = !causal || least >= 0;
  const bool near = window == 0 || (most < window && -least < window);
  return one_document && past && near ? Cover::kFull : Cover::kPartial;
}

}  // namespace tessera::kernels
