#include <algorithm>
#include <cmath>

#include "algos/base/require.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "kernels/norm/rmsnorm.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/rmsnorm_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// Four sums in flight hide the latency of the multiply-add.
struct Sums {
  V s0, s1, s2, s3;
};

HWY_INLINE Sums zero_sums() {
  const V zero = hn::Zero(D());
  return {zero, zero, zero, zero};
}

HWY_INLINE float total(const Sums& s) {
  return hn::GetLane(hn::SumOfLanes(D(), hn::Add(hn::Add(s.s0, s.s1), hn::Add(s.s2, s.s3))));
}

template <bool kUpdate>
HWY_INLINE V sum_at(const float* residual, const float* update, std::int64_t i) {
  const V x = hn::LoadU(D(), residual + i);
  if constexpr (kUpdate) return hn::Add(x, hn::LoadU(D(), update + i));
  return x;
}

/// sum[i] = residual[i] (+ update[i]); returns the sum of their squares.
template <bool kUpdate>
HWY_INLINE float add_and_square(float* sum, const float* residual, const float* update, std::int64_t width) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Sums s = zero_sums();
  std::int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    const V x0 = sum_at<kUpdate>(residual, update, i);
    const V x1 = sum_at<kUpdate>(residual, update, i + lanes);
    const V x2 = sum_at<kUpdate>(residual, update, i + 2 * lanes);
    const V x3 = sum_at<kUpdate>(residual, update, i + 3 * lanes);
    hn::StoreU(x0, d, sum + i);
    hn::StoreU(x1, d, sum + i + lanes);
    hn::StoreU(x2, d, sum + i + 2 * lanes);
    hn::StoreU(x3, d, sum + i + 3 * lanes);
    s.s0 = hn::MulAdd(x0, x0, s.s0);
    s.s1 = hn::MulAdd(x1, x1, s.s1);
    s.s2 = hn::MulAdd(x2, x2, s.s2);
    s.s3 = hn::MulAdd(x3, x3, s.s3);
  }
  for (; i + lanes <= width; i += lanes) {
    const V x = sum_at<kUpdate>(residual, update, i);
    hn::StoreU(x, d, sum + i);
    s.s0 = hn::MulAdd(x, x, s.s0);
  }
  float squares = total(s);
  for (; i < width; ++i) {
    sum[i] = kUpdate ? residual[i] + update[i] : residual[i];
    squares += sum[i] * sum[i];
  }
  return squares;
}

void forward_rows(float* y_TD, float* rstd_T, float* sum_TD, const float* residual_TD, const float* update_TD,
                  const float* w, std::int64_t begin, std::int64_t end, std::int64_t width, float eps) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t t = begin; t < end; ++t) {
    const float* residual = residual_TD + t * width;
    float* sum = sum_TD + t * width;
    float* y = y_TD + t * width;
    const float squares = update_TD == nullptr
                              ? add_and_square<false>(sum, residual, nullptr, width)
                              : add_and_square<true>(sum, residual, update_TD + t * width, width);
    const double mean = static_cast<double>(squares) / static_cast<double>(width);
    const auto rstd = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
    rstd_T[t] = rstd;
    const V rstd_v = hn::Set(d, rstd);
    std::int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
      const V x = hn::LoadU(d, sum + i);
      hn::StoreU(hn::Mul(hn::LoadU(d, w + i), hn::Mul(x, rstd_v)), d, y + i);
    }
    for (; i < width; ++i) y[i] = w[i] * (sum[i] * rstd);
  }
}

/// sum_i dy[i] w[i] x[i]
HWY_INLINE float dot3(const float* dy, const float* w, const float* x, std::int64_t width) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto g = [&](std::int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, w + i)); };
  Sums s = zero_sums();
  std::int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    s.s0 = hn::MulAdd(g(i), hn::LoadU(d, x + i), s.s0);
    s.s1 = hn::MulAdd(g(i + lanes), hn::LoadU(d, x + i + lanes), s.s1);
    s.s2 = hn::MulAdd(g(i + 2 * lanes), hn::LoadU(d, x + i + 2 * lanes), s.s2);
    s.s3 = hn::MulAdd(g(i + 3 * lanes), hn::LoadU(d, x + i + 3 * lanes), s.s3);
  }
  for (; i + lanes <= width; i += lanes) s.s0 = hn::MulAdd(g(i), hn::LoadU(d, x + i), s.s0);
  float dot = total(s);
  for (; i < width; ++i) dot += dy[i] * w[i] * x[i];
  return dot;
}

/// dx is added into; dw_D, the block's own row, is added into.
void backward_rows(float* dx_TD, float* dw, const float* dy_TD, const float* x_TD, const float* rstd_T,
                   const float* w, std::int64_t begin, std::int64_t end, std::int64_t width) {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t t = begin; t < end; ++t) {
    const float* dy = dy_TD + t * width;
    const float* x = x_TD + t * width;
    float* dx = dx_TD + t * width;
    const float rstd = rstd_T[t];
    const float mean = dot3(dy, w, x, width) / static_cast<float>(width);
    const float pull = mean * rstd * rstd;
    const V rstd_v = hn::Set(d, rstd);
    const V pull_v = hn::Set(d, pull);
    std::int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
      const V dy_v = hn::LoadU(d, dy + i);
      const V x_v = hn::LoadU(d, x + i);
      const V inner = hn::NegMulAdd(x_v, pull_v, hn::Mul(dy_v, hn::LoadU(d, w + i)));
      hn::StoreU(hn::MulAdd(rstd_v, inner, hn::LoadU(d, dx + i)), d, dx + i);
      hn::StoreU(hn::MulAdd(dy_v, hn::Mul(x_v, rstd_v), hn::LoadU(d, dw + i)), d, dw + i);
    }
    for (; i < width; ++i) {
      dx[i] += rstd * (dy[i] * w[i] - x[i] * pull);
      dw[i] += dy[i] * (x[i] * rstd);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

/// Tokens per worker and turn: enough floats that the hand-out is not felt.
std::int64_t token_grain(std::int64_t width) { return 1 + 16384 / (1 + width); }

/// Tokens whose share of dw is summed in one row. A function of the shape alone, so that dw does not
/// depend on the number of threads; at most kMostBlocks rows of scratch.
constexpr std::int64_t kMostBlocks = 64;
std::int64_t block_tokens(std::int64_t tokens) {
  constexpr std::int64_t kFewest = 16;
  return std::max(kFewest, (tokens + kMostBlocks - 1) / kMostBlocks);
}

}  // namespace

void rmsnorm_forward(float* y_TD, float* rstd_T, float* sum_TD, const float* residual_TD,
                     const float* update_TD, const float* w_D, std::int64_t tokens, std::int64_t width,
                     float eps) {
  TS_REQUIRE(tokens >= 0 && width >= 1, tokens, width);
  parallel_ranges(tokens, token_grain(width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)
    (y_TD, rstd_T, sum_TD, residual_TD, update_TD, w_D, begin, end, width, eps);
  });
}

void rmsnorm_backward(float* dx_TD, float* dw_D, const float* dy_TD, const float* x_TD, const float* rstd_T,
                      const float* w_D, std::int64_t tokens, std::int64_t width) {
  TS_REQUIRE(tokens >= 0 && width >= 1, tokens, width);
  if (tokens == 0) return;
  const std::int64_t block = block_tokens(tokens);
  const std::int64_t blocks = (tokens + block - 1) / block;
  // Kept from call to call: nothing is allocated inside a step.
  static thread_local Buffer<float> scratch;
  if (scratch.size() < blocks * width) scratch = Buffer<float>(blocks * width);
  float* dw_BD = scratch.data();
  parallel_for(blocks, [&, dw_BD](std::int64_t b) {
    float* dw = dw_BD + b * width;
    std::fill_n(dw, width, 0.0F);
    HWY_DYNAMIC_DISPATCH(backward_rows)
    (dx_TD, dw, dy_TD, x_TD, rstd_T, w_D, b * block, std::min(tokens, (b + 1) * block), width);
  });
  for (std::int64_t b = 0; b < blocks; ++b) {
    const float* __restrict from = dw_BD + b * width;
    float* __restrict to = dw_D;
    for (std::int64_t i = 0; i < width; ++i) to[i] += from[i];
  }
}

}  // namespace tessera::kernels
#endif  // HWY_ONCE
