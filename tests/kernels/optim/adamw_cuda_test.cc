// Against the double oracle, several steps, each from the device's own state so that errors do not pile up. u
// = 2^-24. The factors are rounded to fp32: u each. m and v: two products and a sum of terms of either sign,
// 4 u of the larger term; the update: root, quotient and products, 10 u of its own size; the weight: 2 u of
// itself.
#include "kernels/optim/adamw_cuda.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::kRounding;
using testing_support::OnDevice;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;

std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

template <class T>
void expect_steps(std::int64_t n, bool copy, bool device_scale) {
  const OnDevice<float> p(uniform_floats(n, 1)), m(uniform_floats(n, 2, -1e-2, 1e-2)),
      v(uniform_floats(n, 3, 0, 1e-3));
  const OnDevice<T> low(static_cast<std::size_t>(n));
  for (std::int64_t step = 1; step <= 3; ++step) {
    const auto gradient = uniform_floats(n, static_cast<std::uint64_t>(10 + step), -3, 3);
    const OnDevice<float> g(gradient);
    const AdamwStep options{1e-2, 0.9, 0.95, 1e-8, 0.1, step, 0.125};
    AdamwStep given = options;  // 0.125 = 0.5 * 0.25, exactly
    const OnDevice<float> scale(std::vector<float>{0.5F});
    if (device_scale) given.gradient_scale = 0.25;
    std::vector<double> p_ref = doubles(p.download()), m_ref = doubles(m.download()),
                        v_ref = doubles(v.download());
    const std::vector<double> m_before = m_ref;
    const std::vector<double> p_before = p_ref;
    const std::vector<double> g_ref = doubles(gradient);
    adamw_ref(p_ref.data(), m_ref.data(), v_ref.data(), g_ref.data(), n, options);
    adamw_cuda<T>(p.get(), copy ? low.get() : nullptr, m.get(), v.get(), g.get(), n, given,
                  device_scale ? scale.get() : nullptr, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    const auto p_got = p.download(), m_got = m.download(), v_got = v.download();
    const auto low_got = floats(low.download());
    for (std::size_t i = 0; i < p_got.size(); ++i) {
      const double term = 0.9 * std::abs(m_before[i]) + 0.1 * std::abs(0.125 * g_ref[i]);
      ASSERT_NEAR(m_got[i], m_ref[i], 4 * kU * term) << i;
      ASSERT_NEAR(v_got[i], v_ref[i], 6 * kU * v_ref[i]) << i;
      const double move = std::abs(p_ref[i] - p_before[i]) + 1e-2 * term / (std::sqrt(v_ref[i]) + 1e-8) * 10;
      ASSERT_NEAR(p_got[i], p_ref[i], 3 * kU * std::abs(p_before[i]) + 10 * kU * move) << i;
      if (copy) {
        ASSERT_NEAR(low_got[i], p_got[i], kRounding<T> * std::abs(p_got[i])) << i;
      }
    }
  }
}

TEST(AdamwCuda, StepsAgreeWithTheOracle) {
  for (const std::int64_t n : {1, 255, 256, 1000}) {
    expect_steps<float>(n, false, false);
    expect_steps<float>(n, true, true);
    expect_steps<Bf16>(n, true, n % 2 == 0);
  }
}

/// Formed in double and rounded once: u. The product x * factor: u more.
TEST(ClipFactorCuda, IsPyTorchsAndScales) {
  const OnDevice<float> factor(1);
  const auto factor_of = [&](double squares, double limit, double divisor) {
    const OnDevice<double> sum(std::vector<double>{squares});
    clip_factor_cuda(factor.get(), sum.get(), limit, divisor, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    return factor.download()[0];
  };
  EXPECT_EQ(factor_of(0.25, 1, 1), 1.0F);  // norm 0.5 is below
  EXPECT_EQ(factor_of(1e6, 0, 4), 0.25F);  // no limit
  EXPECT_TRUE(std::isnan(factor_of(std::numeric_limits<double>::infinity(), 1, 1)));
  EXPECT_TRUE(std::isnan(factor_of(std::numeric_limits<double>::quiet_NaN(), 0, 1)));
  const double want = 3 / (50.0 + 1e-6) / 7;
  EXPECT_NEAR(factor_of(2500, 3, 7), want, kU * want);

  for (const std::int64_t n : {1, 256, 257}) {
    const auto x = uniform_floats(n, 8);
    const OnDevice<float> d_x(x);
    scale_cuda(d_x.get(), factor.get(), n, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    const auto got = d_x.download();
    const double f = static_cast<double>(factor.download()[0]);
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], f * static_cast<double>(x[i]), kU * std::abs(f * static_cast<double>(x[i])));
    }
  }
}

/// Doubles: the order of n terms costs n 2^-53 at most.
TEST(SumOfSquaresCuda, IsTheSumAndRepeats) {
  for (const std::int64_t n : {0, 1, 255, 257, 100'000}) {
    const auto x = uniform_floats(n, 7, -3, 3);
    double want = 0;
    for (const float value : x) want += static_cast<double>(value) * value;
    const OnDevice<float> d_x(x);
    const OnDevice<double> out(1), again(1), scratch(static_cast<std::size_t>(sum_of_squares_scratch(n)));
    sum_of_squares_cuda(out.get(), d_x.get(), n, scratch.get(), nullptr);
    sum_of_squares_cuda(again.get(), d_x.get(), n, scratch.get(), nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    EXPECT_NEAR(out.download()[0], want, static_cast<double>(n) * 0x1p-53 * want) << n;
    EXPECT_EQ(out.download(), again.download());
  }
}

}  // namespace
}  // namespace tessera::kernels
