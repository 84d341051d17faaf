// Held to the double oracle. u = 2^-24. y carries a rounding for the residual sum, one for each of the two
// products and the error of rstd (half that of the mean of squares, whose partial sums over at most
// D / 4 terms err by less than D/8 * u relatively, all terms being positive; observed below 4 u): 16 u
// relatively for the widths here. dx subtracts two terms of size rstd |dy w|, so its error is measured
// against that size: 64 u. dw sums T terms: 16 u plus T/2 u against sum |terms|.
#include "kernels/norm/rmsnorm.h"

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
constexpr float kEps = 1e-5F;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Forward {
  std::vector<float> y, rstd, sum;
  bool operator==(const Forward&) const = default;
};

Forward forward(const std::vector<float>& residual, const float* update, const std::vector<float>& w,
                std::int64_t tokens, std::int64_t width) {
  Forward out{std::vector<float>(residual.size()), std::vector<float>(size(tokens)),
              std::vector<float>(residual.size())};
  rmsnorm_forward(out.y.data(), out.rstd.data(), out.sum.data(), residual.data(), update, w.data(), tokens,
                  width, kEps);
  return out;
}

TEST(RmsNorm, ForwardAgreesWithTheOracle) {
  for_each_simd_target([] {
    for (const std::int64_t width : {1, 3, 16, 31, 64, 100, 257, 1024}) {
      for (const std::int64_t tokens : {1, 2, 17}) {
        for (const bool with_update : {false, true}) {
          const auto residual = uniform_floats(tokens * width, 1);
          const auto update = uniform_floats(tokens * width, 2);
          const auto w = uniform_floats(width, 3, 0.5, 1.5);
          const float* u = with_update ? update.data() : nullptr;
          const Forward got = forward(residual, u, w, tokens, width);
          std::vector<double> y(residual.size()), rstd(size(tokens)), sum(residual.size());
          rmsnorm_forward_ref(y.data(), rstd.data(), sum.data(), residual.data(), u, w.data(), tokens, width,
                              kEps);
          for (std::size_t i = 0; i < y.size(); ++i) {
            // The sum of residual and update may cancel, so its one rounding counts against 2.
            ASSERT_NEAR(got.sum[i], sum[i], 2 * kU) << i;
            const double rstd_i = rstd[i / size(width)];
            ASSERT_NEAR(got.y[i], y[i], 16 * kU * std::abs(y[i]) + 4 * kU * rstd_i) << i;
          }
          for (std::size_t t = 0; t < rstd.size(); ++t) ASSERT_NEAR(got.rstd[t], rstd[t], 16 * kU * rstd[t]);
        }
      }
    }
  });
}

TEST(RmsNorm, SumMayAliasResidual) {
  constexpr std::int64_t kTokens = 5;
  constexpr std::int64_t kWidth = 77;
  const auto residual = uniform_floats(kTokens * kWidth, 1);
  const auto update = uniform_floats(kTokens * kWidth, 2);
  const auto w = uniform_floats(kWidth, 3);
  const Forward apart = forward(residual, update.data(), w, kTokens, kWidth);
  std::vector<float> in_place = residual;
  std::vector<float> y(residual.size()), rstd(size(kTokens));
  rmsnorm_forward(y.data(), rstd.data(), in_place.data(), in_place.data(), update.data(), w.data(), kTokens,
                  kWidth, kEps);
  EXPECT_EQ(y, apart.y);
  EXPECT_EQ(in_place, apart.sum);
}

TEST(RmsNorm, ARowOfZerosStaysZero) {
  const std::vector<float> zeros(64);
  const std::vector<float> w(64, 1.0F);
  const Forward got = forward(zeros, nullptr, w, 1, 64);
  EXPECT_EQ(got.y, zeros);
  EXPECT_NEAR(got.rstd[0], 1 / std::sqrt(kEps), 1e-3);
}

struct Backward {
  std::vector<float> dx, dw;
  bool operator==(const Backward&) const = default;
};

struct BackwardProblem {
  std::int64_t tokens, width;
  std::vector<float> x, dy, w, dx, dw, rstd;

  BackwardProblem(std::int64_t t, std::int64_t d)
      : tokens(t),
        width(d),
        x(uniform_floats(t * d, 1, -2, 2)),
        dy(uniform_floats(t * d, 2)),
        w(uniform_floats(d, 3, 0.5, 1.5)),
        dx(uniform_floats(t * d, 4)),
        dw(uniform_floats(d, 5)),
        rstd(forward(x, nullptr, w, t, d).rstd) {}

  [[nodiscard]] Backward run() const {
    Backward out{dx, dw};
    rmsnorm_backward(out.dx.data(), out.dw.data(), dy.data(), x.data(), rstd.data(), w.data(), tokens, width);
    return out;
  }
};

TEST(RmsNorm, BackwardAgreesWithTheOracleAndAddsIntoWhatIsThere) {
  for_each_simd_target([] {
    for (const std::int64_t width : {1, 3, 16, 31, 64, 257, 600}) {
      for (const std::int64_t tokens : {1, 2, 17, 100, 1100}) {
        const BackwardProblem p(tokens, width);
        const Backward got = p.run();
        std::vector<double> dx(p.dx.begin(), p.dx.end()), dw(p.dw.begin(), p.dw.end());
        rmsnorm_backward_ref(dx.data(), dw.data(), p.dy.data(), p.x.data(), p.w.data(), tokens, width, kEps);
        for (std::size_t i = 0; i < dx.size(); ++i) {
          const double scale = 1 + p.rstd[i / size(width)] * 1.5;
          ASSERT_NEAR(got.dx[i], dx[i], 64 * kU * scale) << tokens << " x " << width << " at " << i;
        }
        for (std::int64_t d = 0; d < width; ++d) {
          double terms = 1;
          for (std::int64_t t = 0; t < tokens; ++t) {
            terms += std::abs(static_cast<double>(p.dy[size(t * width + d)]) * p.x[size(t * width + d)] *
                              p.rstd[size(t)]);
          }
          ASSERT_NEAR(got.dw[size(d)], dw[size(d)], kU * terms * (16 + static_cast<double>(tokens) / 32));
        }
      }
    }
  });
}

TEST(RmsNorm, IsTheSameForAnyNumberOfThreads) {
  for_each_simd_target([] {
    const BackwardProblem p(301, 203);
    expect_same_for_any_threads([&] { return forward(p.x, p.dy.data(), p.w, p.tokens, p.width); });
    expect_same_for_any_threads([&] { return p.run(); });
  });
}

TEST(RmsNorm, NoTokensIsANoOp) {
  float w[4] = {1, 1, 1, 1};
  float dw[4] = {1, 2, 3, 4};
  rmsnorm_forward(nullptr, nullptr, nullptr, nullptr, nullptr, w, 0, 4, kEps);
  rmsnorm_backward(nullptr, dw, nullptr, nullptr, nullptr, w, 0, 4);
  EXPECT_EQ(dw[2], 3);
}

}  // namespace
}  // namespace tessera::kernels
