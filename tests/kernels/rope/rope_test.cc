// Held to the double oracle. Table entries are doubles rounded once: half an ulp, 2^-25. A rotated element
// is two products of |x| <= 1 with such entries and a sum: at most 2 (2^-25 + 2^-24) + 2^-24 < 4 * 2^-24.
#include "kernels/rope/rope.h"

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

std::vector<double> inverse_frequencies(int head_dim) {
  std::vector<double> out;
  for (int i = 0; i < head_dim / 2; ++i) out.push_back(std::pow(10000.0, -2.0 * i / head_dim));
  return out;
}

struct Problem {
  std::int64_t tokens;
  int heads;
  int head_dim;
  std::int64_t stride;
  std::vector<std::int32_t> position;
  std::vector<double> inv_freq;
  std::vector<float> cosine, sine, x;

  Problem(std::int64_t t, int h, int d, std::int64_t gap, std::int32_t first_position)
      : tokens(t),
        heads(h),
        head_dim(d),
        stride(std::int64_t{h} * d + gap),
        inv_freq(inverse_frequencies(d)) {
    for (std::int64_t i = 0; i < t; ++i)
      position.push_back(first_position + static_cast<std::int32_t>(3 * i));
    cosine.resize(static_cast<std::size_t>(t * d / 2));
    sine.resize(cosine.size());
    rope_table(cosine.data(), sine.data(), position.data(), inv_freq.data(), t, d / 2);
    x = uniform_floats(t * stride, 7);
  }
};

TEST(Rope, AgreesWithTheOracleUpToPositionsNearAMillion) {
  for_each_simd_target([] {
    for (const std::int32_t first : {0, 1, 4095, 999'000, 1'048'575}) {
      for (const int head_dim : {2, 6, 32, 64, 128}) {
        for (const int heads : {1, 3}) {
          for (const std::int64_t gap : {0, 5}) {
            const Problem p(9, heads, head_dim, gap, first);
            std::vector<float> got = p.x;
            rope_forward(got.data(), p.stride, p.cosine.data(), p.sine.data(), p.tokens, heads, head_dim);
            std::vector<double> want(static_cast<std::size_t>(p.tokens * heads * head_dim));
            rope_ref(want.data(), p.x.data(), p.stride, p.position.data(), p.inv_freq.data(), p.tokens, heads,
                     head_dim);
            for (std::int64_t t = 0; t < p.tokens; ++t) {
              for (std::int64_t i = 0; i < p.stride; ++i) {
                const std::size_t at = static_cast<std::size_t>(t * p.stride + i);
                if (i >= heads * head_dim) {
                  ASSERT_EQ(got[at], p.x[at]) << "wrote between the tokens";
                } else {
                  ASSERT_NEAR(got[at], want[static_cast<std::size_t>(t * heads * head_dim + i)], 4 * kU);
                }
              }
            }
          }
        }
      }
    }
  });
}

TEST(Rope, BackwardIsTheTransposeOfForward) {
  // <R x, y> = <x, R' y>, summed in double; each of the 2 * T H D elements errs by 4 u at most.
  for_each_simd_target([] {
    const Problem p(11, 2, 64, 0, 500'000);
    const auto y = uniform_floats(p.tokens * p.stride, 8);
    std::vector<float> rotated = p.x;
    std::vector<float> back = y;
    rope_forward(rotated.data(), p.stride, p.cosine.data(), p.sine.data(), p.tokens, 2, 64);
    rope_backward(back.data(), p.stride, p.cosine.data(), p.sine.data(), p.tokens, 2, 64);
    double left = 0;
    double right = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      left += static_cast<double>(rotated[i]) * y[i];
      right += static_cast<double>(p.x[i]) * back[i];
    }
    EXPECT_NEAR(left, right, 8 * kU * static_cast<double>(y.size()));
    EXPECT_GT(std::abs(left), 1e-3);
  });
}

TEST(Rope, IsTheSameForAnyNumberOfThreads) {
  for_each_simd_target([] {
    const Problem p(700, 3, 32, 4, 0);
    expect_same_for_any_threads([&] {
      std::vector<float> x = p.x;
      rope_forward(x.data(), p.stride, p.cosine.data(), p.sine.data(), p.tokens, p.heads, p.head_dim);
      return x;
    });
    expect_same_for_any_threads([&] {
      std::vector<float> cosine(p.cosine.size());
      std::vector<float> sine(p.sine.size());
      rope_table(cosine.data(), sine.data(), p.position.data(), p.inv_freq.data(), p.tokens, p.head_dim / 2);
      cosine.insert(cosine.end(), sine.begin(), sine.end());
      return cosine;
    });
  });
}

TEST(Rope, NoTokensIsANoOp) {
  rope_table(nullptr, nullptr, nullptr, nullptr, 0, 4);
  rope_forward(nullptr, 8, nullptr, nullptr, 0, 1, 8);
  rope_backward(nullptr, 8, nullptr, nullptr, 0, 1, 8);
}

}  // namespace
}  // namespace tessera::kernels
