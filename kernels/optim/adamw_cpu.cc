#include <algorithm>
#include <array>
#include <cmath>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/optim/adamw.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optim/adamw_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#ifndef TESSERA_ADAMW_ONCE
#define TESSERA_ADAMW_ONCE
namespace tessera::kernels {
namespace {

/// A step's constants, formed in double and rounded once.
struct AdamwFactors {
  float gradient_scale;
  float beta1, rest1;  // rest = 1 - beta
  float beta2, rest2;
  float decay;  // learning_rate * weight_decay
  float rate;   // learning_rate / (1 - beta1^step)
  float root;   // 1 / sqrt(1 - beta2^step)
  float eps;
};

}  // namespace
}  // namespace tessera::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Bounded by memory, so a plain loop: compiled once for each target, vectorised by the compiler, and the
/// same to the bit on all of them since nothing is contracted. The decay is taken off together with the
/// update: 1 - decay would round a small decay away.
void adamw_range(float* __restrict p, float* __restrict m, float* __restrict v,
                 const float* __restrict gradient, std::int64_t begin, std::int64_t end,
                 const AdamwFactors& factors) {
  const AdamwFactors f = factors;
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = f.gradient_scale * gradient[i];
    const float m_i = f.beta1 * m[i] + f.rest1 * g;
    const float v_i = f.beta2 * v[i] + f.rest2 * (g * g);
    m[i] = m_i;
    v[i] = v_i;
    p[i] = p[i] - (f.decay * p[i] + f.rate * m_i / (std::sqrt(v_i) * f.root + f.eps));
  }
}

double squares_range(const float* x, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d);
  auto s1 = s0;
  auto s2 = s0;
  auto s3 = s0;
  std::int64_t i = begin;
  for (; i + 4 * lanes <= end; i += 4 * lanes) {
    const auto x0 = hn::PromoteTo(d, hn::LoadU(half, x + i));
    const auto x1 = hn::PromoteTo(d, hn::LoadU(half, x + i + lanes));
    const auto x2 = hn::PromoteTo(d, hn::LoadU(half, x + i + 2 * lanes));
    const auto x3 = hn::PromoteTo(d, hn::LoadU(half, x + i + 3 * lanes));
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < end; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(adamw_range);
HWY_EXPORT(squares_range);

constexpr std::int64_t kGrain = 16384;

}  // namespace

void adamw(float* p, float* m, float* v, const float* gradient, std::int64_t n, const AdamwStep& step) {
  TS_REQUIRE(n >= 0 && step.step >= 1, n, step.step);
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const AdamwFactors factors{
      .gradient_scale = static_cast<float>(step.gradient_scale),
      .beta1 = static_cast<float>(step.beta1),
      .rest1 = static_cast<float>(1 - step.beta1),
      .beta2 = static_cast<float>(step.beta2),
      .rest2 = static_cast<float>(1 - step.beta2),
      .decay = static_cast<float>(step.learning_rate * step.weight_decay),
      .rate = static_cast<float>(step.learning_rate / correction1),
      .root = static_cast<float>(1 / std::sqrt(correction2)),
      .eps = static_cast<float>(step.eps),
  };
  parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_range)(p, m, v, gradient, begin, end, factors);
  });
}

double sum_of_squares(const float* x, std::int64_t n) {
  TS_REQUIRE(n >= 0, n);
  // The partition is a function of n alone, and the partial sums are added in order.
  constexpr std::int64_t kMostBlocks = 256;
  const std::int64_t block = std::max(kGrain, (n + kMostBlocks - 1) / kMostBlocks);
  const std::int64_t blocks = (n + block - 1) / block;
  std::array<double, kMostBlocks> sums{};
  parallel_for(blocks, [&](std::int64_t b) {
    sums[static_cast<std::size_t>(b)] =
        HWY_DYNAMIC_DISPATCH(squares_range)(x, b * block, std::min(n, (b + 1) * block));
  });
  double sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += sums[static_cast<std::size_t>(b)];
  return sum;
}

}  // namespace tessera::kernels
#endif  // HWY_ONCE
