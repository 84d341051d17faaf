// Held to the double oracle over 100 steps. u = 2^-24. A step's update is at most about
// lr * |m / sqrt(v)| <= lr * 1 / sqrt(1 - beta2) in the first steps and near lr later; its factors err by a
// few u each step and m and v carry at most 1/(1 - beta) roundings: (1/(1-beta1) + 1/(1-beta2)/2 + 8) u = 28
// u of the update for beta 0.9, 0.95. p itself is rounded once a step, u |p|. Over S steps: S (u |p| + 28 u
// lr 5).
#include "kernels/optim/adamw.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::expect_same_for_any_threads;
using testing_support::for_each_simd_target;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;

TEST(AdamW, AgreesWithTheOracleOverAHundredSteps) {
  for_each_simd_target([] {
    for (const std::int64_t n : {1, 15, 16, 33, 1000}) {
      for (const double decay : {0.0, 0.1}) {
        auto p = uniform_floats(n, 1);
        std::vector<float> m(p.size()), v(p.size());
        std::vector<double> p_ref(p.begin(), p.end()), m_ref(p.size()), v_ref(p.size());
        AdamwStep step{.learning_rate = 1e-2, .weight_decay = decay, .gradient_scale = 0.5};
        for (step.step = 1; step.step <= 100; ++step.step) {
          const auto gradient = uniform_floats(n, 100 + static_cast<std::uint64_t>(step.step));
          const std::vector<double> wide(gradient.begin(), gradient.end());
          adamw(p.data(), m.data(), v.data(), gradient.data(), n, step);
          adamw_ref(p_ref.data(), m_ref.data(), v_ref.data(), wide.data(), n, step);
        }
        const double bound = 100 * kU * (2 + 28 * 5 * 1e-2);
        for (std::size_t i = 0; i < p.size(); ++i) {
          ASSERT_NEAR(p[i], p_ref[i], bound) << i;
          ASSERT_NEAR(m[i], m_ref[i], 16 * kU);
          ASSERT_NEAR(v[i], v_ref[i], 32 * kU);
        }
      }
    }
  });
}

TEST(AdamW, ASmallDecayIsNotRoundedAway) {
  // 1 - 1e-5 * 1e-3 is 1 in float; a thousand steps take 1e-5 off all the same.
  float p = 1024;
  float m = 0;
  float v = 0;
  const float gradient = 0;
  AdamwStep step{.learning_rate = 1e-3, .weight_decay = 1e-1};
  for (step.step = 1; step.step <= 1000; ++step.step) adamw(&p, &m, &v, &gradient, 1, step);
  // Each step takes 0.1 off and rounds to 2^-14: 1000 roundings of at most 2^-15.
  EXPECT_NEAR(p, 1024 * std::pow(1 - 1e-4, 1000), 1000 * 0x1p-14);
  EXPECT_LT(p, 930);
}

TEST(AdamW, NoGradientMovesNothing) {
  std::vector<float> p = uniform_floats(100, 1);
  const std::vector<float> before = p;
  std::vector<float> m(100), v(100), gradient(100);
  adamw(p.data(), m.data(), v.data(), gradient.data(), 100, {.learning_rate = 1});
  EXPECT_EQ(p, before);
}

TEST(AdamW, IsTheSameForAnyNumberOfThreadsAndOnEveryInstructionSet) {
  constexpr std::int64_t kN = 70'001;
  const auto run = [] {
    auto p = uniform_floats(kN, 1);
    std::vector<float> m = uniform_floats(kN, 2);
    std::vector<float> v = uniform_floats(kN, 3, 0, 1);
    const auto gradient = uniform_floats(kN, 4);
    adamw(p.data(), m.data(), v.data(), gradient.data(), kN,
          {.learning_rate = 1e-3, .weight_decay = 0.1, .step = 7, .gradient_scale = 0.3});
    p.insert(p.end(), m.begin(), m.end());
    p.insert(p.end(), v.begin(), v.end());
    return p;
  };
  const std::vector<float> first = run();
  for_each_simd_target([&] {
    EXPECT_EQ(run(), first);
    expect_same_for_any_threads(run);
  });
}

TEST(SumOfSquares, AgreesWithAPlainSum) {
  for_each_simd_target([] {
    for (const std::int64_t n : {0, 1, 7, 16, 33, 1000, 16'384, 16'385, 100'003}) {
      const auto x = uniform_floats(n, 1);
      double want = 0;
      for (const float value : x) want += static_cast<double>(value) * value;
      // Both are sums of n positive doubles.
      EXPECT_NEAR(sum_of_squares(x.data(), n), want, want * static_cast<double>(n) * 0x1p-52) << n;
    }
  });
}

TEST(SumOfSquares, DoesNotOverflowAndIsTheSameForAnyNumberOfThreads) {
  const std::vector<float> huge(10, 1e38F);
  EXPECT_NEAR(sum_of_squares(huge.data(), 10) / 1e77, 1.0, 1e-6);
  for_each_simd_target([] {
    const auto x = uniform_floats(5'000'003, 1);
    expect_same_for_any_threads([&] { return sum_of_squares(x.data(), 5'000'003); });
  });
}

}  // namespace
}  // namespace tessera::kernels
