// Held to the double oracle. u = 2^-24. sigmoid: exp within 1 ulp (2 u), the sum and the quotient u each, and
// exp's share of 1 + exp is at most all of it: 4 u relatively. silu * up: two products more, 6 u. The slope
// s (1 + g (1 - s)): the inner sum errs by 8 u (1 + |g|) at most since 1 - s may cancel for large g, where s
// is 1 and g (1 - s) small: 16 u against |dy up| (1 + |g|) is taken throughout. Where sigmoid is below
// 2^-126, g < -87, it may be flushed to 0: an absolute 2^-126 (1 + |g|) is allowed, and for g < -104, where
// the true value has vanished, no more than at -104.
#include "kernels/mlp/swiglu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::expect_same_for_any_threads;
using testing_support::for_each_simd_target;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;
constexpr double kTiny = 0x1p-126;

void expect_right(const std::vector<float>& gate_up, const std::vector<float>& dy, std::int64_t tokens,
                  std::int64_t width) {
  const auto n = static_cast<std::size_t>(tokens * width);
  std::vector<float> y(n), y_again(n), d(2 * n);
  std::vector<double> y_ref(n), d_ref(2 * n);
  swiglu_forward(y.data(), gate_up.data(), tokens, width);
  swiglu_backward(d.data(), y_again.data(), dy.data(), gate_up.data(), tokens, width);
  swiglu_forward_ref(y_ref.data(), gate_up.data(), tokens, width);
  swiglu_backward_ref(d_ref.data(), dy.data(), gate_up.data(), tokens, width);
  EXPECT_EQ(y_again, y) << "the recomputed activation is the first one";
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t at = i / static_cast<std::size_t>(width) * static_cast<std::size_t>(width) + i;
    const std::size_t up_at = at + static_cast<std::size_t>(width);
    const double gate = gate_up[at];
    const double up = gate_up[up_at];
    const double tiny = kTiny * (1 + std::min(std::abs(gate), 104.0));
    ASSERT_NEAR(y[i], y_ref[i], 8 * kU * std::abs(y_ref[i]) + tiny) << "gate " << gate << " up " << up;
    ASSERT_NEAR(d[up_at], d_ref[up_at], 8 * kU * std::abs(d_ref[up_at]) + tiny) << "gate " << gate;
    ASSERT_NEAR(d[at], d_ref[at], 16 * kU * std::abs(dy[i] * up) * (1 + std::abs(gate)) + tiny)
        << "gate " << gate << " up " << up;
  }
}

TEST(SwiGlu, AgreesWithTheOracleOnRaggedShapes) {
  for_each_simd_target([] {
    for (const std::int64_t width : {1, 5, 16, 31, 64, 257}) {
      for (const std::int64_t tokens : {1, 3, 20}) {
        expect_right(uniform_floats(2 * tokens * width, 1, -8, 8), uniform_floats(tokens * width, 2), tokens,
                     width);
      }
    }
  });
}

TEST(SwiGlu, AgreesWithTheOracleForExtremeGates) {
  for_each_simd_target([] {
    std::vector<float> gates = {0.0F,   -0.0F,   1e-30F,  -1e-30F,  80.0F,   -80.0F, 87.0F,
                                -87.0F, 88.5F,   -88.5F,  100.0F,   -100.0F, 104.0F, -104.0F,
                                105.0F, -105.0F, 1000.0F, -1000.0F, 1e30F,   -1e30F, -3e38F};
    for (float gate = -110; gate < 110; gate += 0.37F) gates.push_back(gate);
    const auto width = static_cast<std::int64_t>(gates.size());
    std::vector<float> gate_up = gates;
    gate_up.insert(gate_up.end(), gates.size(), 0.75F);
    expect_right(gate_up, std::vector<float>(gates.size(), 0.5F), 1, width);
  });
}

TEST(SwiGlu, ANanInTheGateShows) {
  for_each_simd_target([] {
    std::vector<float> gate_up(64, 1.0F);
    gate_up[5] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> y(32);
    swiglu_forward(y.data(), gate_up.data(), 1, 32);
    EXPECT_TRUE(std::isnan(y[5]));
    EXPECT_FALSE(std::isnan(y[6]));
  });
}

TEST(SwiGlu, TheGradientMayOverwriteTheInputAndTheActivationMayBeLeftOut) {
  for_each_simd_target([] {
    constexpr std::int64_t kTokens = 7;
    constexpr std::int64_t kWidth = 45;
    const auto gate_up = uniform_floats(2 * kTokens * kWidth, 1, -4, 4);
    const auto dy = uniform_floats(kTokens * kWidth, 2);
    std::vector<float> apart(gate_up.size());
    swiglu_backward(apart.data(), nullptr, dy.data(), gate_up.data(), kTokens, kWidth);
    std::vector<float> in_place = gate_up;
    std::vector<float> y(dy.size());
    swiglu_backward(in_place.data(), y.data(), dy.data(), in_place.data(), kTokens, kWidth);
    EXPECT_EQ(in_place, apart);
    std::vector<float> y_forward(dy.size());
    swiglu_forward(y_forward.data(), gate_up.data(), kTokens, kWidth);
    EXPECT_EQ(y, y_forward);
  });
}

TEST(SwiGlu, IsTheSameForAnyNumberOfThreads) {
  for_each_simd_target([] {
    constexpr std::int64_t kTokens = 501;
    constexpr std::int64_t kWidth = 99;
    const auto gate_up = uniform_floats(2 * kTokens * kWidth, 1, -4, 4);
    const auto dy = uniform_floats(kTokens * kWidth, 2);
    expect_same_for_any_threads([&] {
      std::vector<float> out(gate_up.size() + dy.size());
      swiglu_backward(out.data(), out.data() + gate_up.size(), dy.data(), gate_up.data(), kTokens, kWidth);
      return out;
    });
  });
}

TEST(SwiGlu, NoTokensIsANoOp) {
  swiglu_forward(nullptr, nullptr, 0, 16);
  swiglu_backward(nullptr, nullptr, nullptr, nullptr, 0, 16);
}

}  // namespace
}  // namespace tessera::kernels
