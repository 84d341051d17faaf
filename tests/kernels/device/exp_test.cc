// The vector exponential against std::exp in double, on every instruction set: within 1 ulp, that is
// 2^-23 relatively (0.06 u from the polynomial, the rest from the roundings of its last steps, u = 2^-24).
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/device/exp_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/device/exp-inl.h"
#include "tests/support/kernel_test.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

void exp_all(float* y, const float* x, std::int64_t n) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const hwy::HWY_NAMESPACE::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hwy::HWY_NAMESPACE::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hwy::HWY_NAMESPACE::StoreU(exp_of_nonpositive(d, hwy::HWY_NAMESPACE::LoadU(d, x + i)), d, y + i);
  }
  for (; i < n; ++i) {
    hwy::HWY_NAMESPACE::StoreU(exp_of_nonpositive(one, hwy::HWY_NAMESPACE::LoadU(one, x + i)), one, y + i);
  }
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(exp_all);

std::vector<float> exp_of(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  HWY_DYNAMIC_DISPATCH(exp_all)(y.data(), x.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

TEST(Exp, IsWithinOneUlpDownToTheSmallestNormalResult) {
  std::vector<float> x = {0.0F, -0.0F, -1e-38F, -1e-8F, -0.34657F, -0.34658F, -87.3365F};
  for (float at = -0.00001F; at > -87.33F; at -= 0.0007F) x.push_back(at);
  testing_support::for_each_simd_target([&] {
    const std::vector<float> y = exp_of(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(static_cast<double>(x[i]));
      ASSERT_NEAR(y[i], want, 0x1p-23 * want) << "x " << x[i];
    }
    EXPECT_EQ(y[0], 1.0F);
  });
}

TEST(Exp, VanishesBelowAndKeepsNan) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  testing_support::for_each_simd_target([&] {
    // Long enough that vectors and the single lanes behind them both see each value.
    std::vector<float> x;
    for (int i = 0; i < 33; ++i) x.insert(x.end(), {-87.34F, -104.0F, -1e30F, -inf, nan});
    const std::vector<float> y = exp_of(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i % 5 == 4) {
        ASSERT_TRUE(std::isnan(y[i])) << i;
      } else {
        ASSERT_EQ(y[i], 0.0F) << x[i];
      }
    }
  });
}

}  // namespace
}  // namespace tessera::kernels
#endif  // HWY_ONCE
