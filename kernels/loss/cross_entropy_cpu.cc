#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/loss/cross_entropy.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/loss/cross_entropy_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/device/exp-inl.h"
// clang-format on

#ifndef TESSERA_CROSS_ENTROPY_ONCE
#define TESSERA_CROSS_ENTROPY_ONCE
namespace tessera::kernels {
namespace {

/// The row is worked through in chunks that stay in the first-level cache.
constexpr std::int64_t kChunk = 2048;
constexpr std::int64_t kMostChunks = 256;

/// A rank's share of a row: its largest logit and the sum of exponentials against it.
struct RowPart {
  float largest = 0;
  float sum = 0;
};

}  // namespace
}  // namespace tessera::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE float largest_of(const float* x, std::int64_t n) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float lowest = -std::numeric_limits<float>::infinity();
  V m0 = hn::Set(d, lowest);
  V m1 = m0;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
  for (; i < n; ++i) largest = std::max(largest, x[i]);
  return largest;
}

/// sum_i exp(x[i] - shift), each term stored over x[i] if kStore.
template <bool kStore>
HWY_INLINE float sum_exp(float* x, std::int64_t n, float shift) {
  const D d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const V shift_v = hn::Set(d, shift);
  V s0 = hn::Zero(d);
  V s1 = s0;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V e0 = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x + i), shift_v));
    const V e1 = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x + i + lanes), shift_v));
    if constexpr (kStore) {
      hn::StoreU(e0, d, x + i);
      hn::StoreU(e1, d, x + i + lanes);
    }
    s0 = hn::Add(s0, e0);
    s1 = hn::Add(s1, e1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) {
    const float e = hn::GetLane(exp_of_nonpositive(one, hn::Set(one, x[i] - shift)));
    if constexpr (kStore) x[i] = e;
    sum += e;
  }
  return sum;
}

/// Loss of one row; with a gradient the row becomes scale * softmax. One pass over memory finds maximum,
/// exponentials and sum chunk by chunk, each chunk against its own maximum; a second applies the factors.
float row_loss(float* row, std::int64_t vocabulary, std::int32_t label, float gradient_scale) {
  const std::int64_t chunk = std::max(kChunk, (vocabulary + kMostChunks - 1) / kMostChunks);
  const std::int64_t chunks = (vocabulary + chunk - 1) / chunk;
  std::array<float, kMostChunks> shift;
  std::array<float, kMostChunks> sums;
  const float label_logit = row[label];
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t c = 0; c < chunks; ++c) {
    float* x = row + c * chunk;
    const std::int64_t n = std::min(chunk, vocabulary - c * chunk);
    const float chunk_largest = largest_of(x, n);
    largest = std::max(largest, chunk_largest);
    // A chunk of nothing but -inf: every term is exp(-inf) = 0, not exp(-inf + inf).
    const float from = std::isinf(chunk_largest) && chunk_largest < 0 ? 0.0F : chunk_largest;
    const auto at = static_cast<std::size_t>(c);
    shift[at] = from;
    sums[at] = gradient_scale != 0 ? sum_exp<true>(x, n, from) : sum_exp<false>(x, n, from);
  }
  const auto weight = [&](std::int64_t c) {
    const auto at = static_cast<std::size_t>(c);
    return sums[at] == 0 ? 0.0 : std::exp(static_cast<double>(shift[at]) - static_cast<double>(largest));
  };
  double sum = 0;
  for (std::int64_t c = 0; c < chunks; ++c) {
    sum += weight(c) * static_cast<double>(sums[static_cast<std::size_t>(c)]);
  }
  if (gradient_scale != 0) {
    for (std::int64_t c = 0; c < chunks; ++c) {
      float* __restrict x = row + c * chunk;
      const std::int64_t n = std::min(chunk, vocabulary - c * chunk);
      const auto factor = static_cast<float>(weight(c) * static_cast<double>(gradient_scale) / sum);
      for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
    }
    row[label] -= gradient_scale;
  }
  return static_cast<float>(std::log(sum) +
                            (static_cast<double>(largest) - static_cast<double>(label_logit)));
}

RowPart row_part(const float* row, std::int64_t vocabulary) {
  RowPart part;
  part.largest = largest_of(row, vocabulary);
  const float from = std::isinf(part.largest) && part.largest < 0 ? 0.0F : part.largest;
  part.sum = sum_exp<false>(const_cast<float*>(row), vocabulary, from);  // not written to without kStore
  return part;
}

void row_exp(float* row, std::int64_t vocabulary, float largest) {
  (void)sum_exp<true>(row, vocabulary, largest);
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(row_loss);
HWY_EXPORT(row_part);
HWY_EXPORT(row_exp);

/// Rows for one thread to take at once.
std::int64_t grain_of(std::int64_t vocabulary) { return 1 + 4096 / vocabulary; }

}  // namespace

void cross_entropy(float* loss_T, float* logits_TV, std::int64_t ld, const std::int32_t* label_T,
                   std::int64_t tokens, std::int64_t vocabulary, float gradient_scale) {
  TS_REQUIRE(tokens >= 0 && vocabulary >= 1 && ld >= vocabulary, tokens, vocabulary, ld);
  parallel_ranges(tokens, grain_of(vocabulary), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = logits_TV + t * ld;
      const std::int32_t label = label_T[t];
      if (label == kIgnoredLabel) {
        loss_T[t] = 0;
        if (gradient_scale != 0) std::fill_n(row, vocabulary, 0.0F);
        continue;
      }
      TS_REQUIRE(label >= 0 && label < vocabulary, t, label, vocabulary);
      loss_T[t] = HWY_DYNAMIC_DISPATCH(row_loss)(row, vocabulary, label, gradient_scale);
    }
  });
}

void cross_entropy_part(double* largest_T, double* sum_T, double* label_logit_T, const float* logits_TV,
                        std::int64_t ld, const std::int32_t* label_T, std::int64_t tokens, std::int64_t first,
                        std::int64_t vocabulary) {
  TS_REQUIRE(tokens >= 0 && vocabulary >= 1 && ld >= vocabulary, tokens, vocabulary, ld);
  parallel_ranges(tokens, grain_of(vocabulary), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = logits_TV + t * ld;
      largest_T[t] = sum_T[t] = label_logit_T[t] = 0;
      if (label_T[t] == kIgnoredLabel) continue;
      const auto part = HWY_DYNAMIC_DISPATCH(row_part)(row, vocabulary);
      largest_T[t] = static_cast<double>(part.largest);
      sum_T[t] = static_cast<double>(part.sum);
      const std::int64_t column = label_T[t] - first;
      if (0 <= column && column < vocabulary) label_logit_T[t] = static_cast<double>(row[column]);
    }
  });
}

void cross_entropy_part_gradient(float* logits_TV, std::int64_t ld, const double* largest_T,
                                 const double* sum_T, const std::int32_t* label_T, std::int64_t tokens,
                                 std::int64_t first, std::int64_t vocabulary, float gradient_scale) {
  TS_REQUIRE(tokens >= 0 && vocabulary >= 1 && ld >= vocabulary, tokens, vocabulary, ld);
  parallel_ranges(tokens, grain_of(vocabulary), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* __restrict row = logits_TV + t * ld;
      if (label_T[t] == kIgnoredLabel) {
        std::fill_n(row, vocabulary, 0.0F);
        continue;
      }
      HWY_DYNAMIC_DISPATCH(row_exp)(row, vocabulary, static_cast<float>(largest_T[t]));
      const auto factor = static_cast<float>(static_cast<double>(gradient_scale) / sum_T[t]);
      for (std::int64_t i = 0; i < vocabulary; ++i) row[i] *= factor;
      const std::int64_t column = label_T[t] - first;
      if (0 <= column && column < vocabulary) row[column] -= gradient_scale;
    }
  });
}

}  // namespace tessera::kernels
#endif  // HWY_ONCE
