// Held to the double oracle on the stored (rounded) logits. u = 2^-24; s = half a unit of the storage type. A
// term exp(x - M): the difference errs by u |x - M|, its product with log2 e by u |x - M| more, the device's
// ex2 by 4 u: relatively (2 |x - M| + 4) u, which matters only while exp is above 2^-24 or so, |x - M| < 17:
// 40 u. The sum: V/256 terms a thread, 13 joins, each with one or two more exponentials of which the same
// holds: (V/256 + 13) u plus at most 14 such errors of terms that are not the largest; observed far less,
// bounded by 13 * 40 u + (V/256 + 13) u for what is rescaled. kSum(V) = (V/256 + 13 + 13 * 40) u relatively.
// A probability: 40 u and the sum's error, stored: s. The loss: the sum's relative error, a rounding.
#include "kernels/loss/cross_entropy_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/loss/labels.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::kRounding;
using testing_support::labels;
using testing_support::OnDevice;
using testing_support::stored;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;
double sum_error(std::int64_t vocabulary) {
  return (static_cast<double>(vocabulary) / 256 + 13 + 13 * 40) * kU;
}

struct Case {
  std::int64_t tokens;
  std::int64_t vocabulary;
  std::int64_t ld;
  std::int64_t shift;  // values that the logits are off a 16-byte boundary
  double range;        // of the logits
};

template <class T>
struct Problem {
  Case c;
  std::vector<T> logits;
  std::vector<float> rounded;
  std::vector<std::int32_t> label;
  std::vector<double> loss, gradient;  // the oracle's, for a scale of 1

  explicit Problem(const Case& given)
      : c(given),
        logits(stored<T>(uniform_floats(c.shift + c.tokens * c.ld, 1, -c.range, c.range))),
        rounded(floats(logits)),
        label(labels(c.tokens, c.vocabulary)),
        loss(static_cast<std::size_t>(c.tokens)),
        gradient(static_cast<std::size_t>(c.tokens * c.vocabulary)) {
    cross_entropy_ref(loss.data(), gradient.data(), rounded.data() + c.shift, c.ld, label.data(), c.tokens,
                      c.vocabulary, 1);
  }

  void expect_loss(const std::vector<float>& got) const {
    for (std::size_t t = 0; t < got.size(); ++t) {
      ASSERT_NEAR(got[t], loss[t], sum_error(c.vocabulary) + kU * std::abs(loss[t])) << "token " << t;
    }
  }
  void expect_gradient(const std::vector<float>& got, double scale) const {
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::int64_t at = static_cast<std::int64_t>(i) - c.shift;
      if (at < 0 || at % c.ld >= c.vocabulary || scale == 0) {
        ASSERT_EQ(got[i], rounded[i]) << "wrote where it should not, at " << at;
        continue;
      }
      const auto row = static_cast<std::size_t>(at / c.ld);
      const double want =
          scale *
          gradient[row * static_cast<std::size_t>(c.vocabulary) + static_cast<std::size_t>(at % c.ld)];
      const bool own = label[row] == at % c.ld;  // p - 1: the error of p, the rounding of the difference
      const double p = own ? std::abs(scale) : std::abs(want);
      // the last term: values whose exponential is nearly nothing, and storage below its normal numbers
      const double vanishing = std::abs(scale) * 0x1p-24 * 0x1p-14 + 0x1p-25;
      ASSERT_NEAR(got[i], want,
                  p * (sum_error(c.vocabulary) + 42 * kU) + kRounding<T> * std::abs(want) + vanishing)
          << "token " << row << " column " << at % c.ld;
    }
  }
};

template <class T>
void expect_right(const Case& c) {
  SCOPED_TRACE(::testing::Message() << c.tokens << " x " << c.vocabulary << ", ld " << c.ld << ", shift "
                                    << c.shift << ", range " << c.range);
  const Problem<T> problem(c);
  const OnDevice<std::int32_t> label(problem.label);
  const auto n = static_cast<std::size_t>(c.tokens);
  for (const float scale : {0.0F, 0.5F}) {
    const OnDevice<T> logits(problem.logits);
    const OnDevice<float> loss(n);
    cross_entropy_cuda<T>(loss.get(), logits.get() + c.shift, c.ld, label.get(), c.tokens, c.vocabulary,
                          scale, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    problem.expect_loss(loss.download());
    problem.expect_gradient(floats(logits.download()), static_cast<double>(scale));
  }

  // As two ranks: the columns [0, cut) and [cut, V) of the same matrix, joined on the host.
  if (c.vocabulary < 16) return;
  const std::int64_t cut = c.vocabulary / 3 / 8 * 8;
  const OnDevice<T> logits(problem.logits);
  const OnDevice<double> largest(n), sums(n);
  std::vector<double> all_largest(n, -std::numeric_limits<double>::infinity()), all_sums(n, 0.0),
      all_label(n, 0.0);
  std::vector<std::vector<double>> own_largest, own_sum;
  const std::int64_t first[] = {0, cut, c.vocabulary};
  for (int rank = 0; rank < 2; ++rank) {
    const OnDevice<double> rank_largest(n), rank_sum(n), rank_label(n);
    cross_entropy_part_cuda<T>(rank_largest.get(), rank_sum.get(), rank_label.get(),
                               logits.get() + c.shift + first[rank], c.ld, label.get(), c.tokens, first[rank],
                               first[rank + 1] - first[rank], nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    own_largest.push_back(rank_largest.download());
    own_sum.push_back(rank_sum.download());
    const auto label_logit = rank_label.download();
    for (std::size_t t = 0; t < n; ++t) {
      all_largest[t] = std::max(all_largest[t], own_largest.back()[t]);
      all_label[t] += label_logit[t];
      if (problem.label[t] == kIgnoredLabel) {
        EXPECT_EQ(own_largest.back()[t], 0.0);
        EXPECT_EQ(own_sum.back()[t], 0.0);
      }
    }
  }
  const OnDevice<double> d_largest(all_largest);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const OnDevice<double> rescaled(own_sum[rank]), own(own_largest[rank]);
    cross_entropy_rescale_cuda(rescaled.get(), own.get(), d_largest.get(), c.tokens, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    const auto share = rescaled.download();
    for (std::size_t t = 0; t < n; ++t) all_sums[t] += share[t];
  }
  const OnDevice<double> d_sums(all_sums), d_label(all_label);
  const OnDevice<float> loss(n);
  cross_entropy_loss_cuda(loss.get(), d_largest.get(), d_sums.get(), d_label.get(), label.get(), c.tokens,
                          nullptr);
  for (int rank = 0; rank < 2; ++rank) {
    cross_entropy_part_gradient_cuda<T>(logits.get() + c.shift + first[rank], c.ld, d_largest.get(),
                                        d_sums.get(), label.get(), c.tokens, first[rank],
                                        first[rank + 1] - first[rank], -2.0F, nullptr);
  }
  TS_CUDA(cudaDeviceSynchronize());
  problem.expect_loss(loss.download());
  problem.expect_gradient(floats(logits.download()), -2.0);
}

template <class T>
void every_path() {
  expect_right<T>({6, 2048, 2048, 0, 4});
  expect_right<T>({4, 2050, 2064, 0, 30});  // a row's last values one by one; terms that vanish
  expect_right<T>({7, 100, 100, 0, 8});     // fewer columns than threads
  expect_right<T>({5, 333, 333, 0, 8});     // ld off
  expect_right<T>({5, 256, 256, 1, 8});     // pointer off
  expect_right<T>({3, 1, 8, 0, 8});
}

TEST(CrossEntropyCuda, Fp32AgreesWithTheOracleOnEveryPath) { every_path<float>(); }
TEST(CrossEntropyCuda, Bf16AgreesWithTheOracleOnEveryPath) { every_path<Bf16>(); }
TEST(CrossEntropyCuda, Fp16AgreesWithTheOracleOnEveryPath) { every_path<F16>(); }

TEST(CrossEntropyCuda, LargeLogitsAndMaskedOnes) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> row(40, -inf);
  row[3] = 30000.0F;
  row[17] = 29999.0F;
  row[39] = -30000.0F;
  const OnDevice<float> logits(row), loss(1);
  const OnDevice<std::int32_t> label(std::vector<std::int32_t>{17});
  cross_entropy_cuda<float>(loss.get(), logits.get(), 40, label.get(), 1, 40, 1.0F, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const double p = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(loss.download()[0], 1 - std::log(p), 100 * kU);
  const auto d = logits.download();
  EXPECT_NEAR(d[3], p, 100 * kU);
  EXPECT_NEAR(d[17], -p, 100 * kU);
  EXPECT_EQ(d[0], 0.0F);
  EXPECT_EQ(d[39], 0.0F);
}

TEST(CrossEntropyCuda, ALabelOutsideGivesNaN) {
  const OnDevice<float> logits(uniform_floats(16, 1)), loss(2);
  const OnDevice<std::int32_t> label(std::vector<std::int32_t>{8, -1});
  cross_entropy_cuda<float>(loss.get(), logits.get(), 8, label.get(), 2, 8, 0.0F, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  for (const float x : loss.download()) EXPECT_TRUE(std::isnan(x));
}

TEST(CrossEntropyCuda, ARankOfNothingButMinusInfinity) {
  const OnDevice<float> logits(std::vector<float>(300, -std::numeric_limits<float>::infinity()));
  const OnDevice<std::int32_t> label(std::vector<std::int32_t>{1000});
  const OnDevice<double> largest(1), sum(1), label_logit(1);
  cross_entropy_part_cuda<float>(largest.get(), sum.get(), label_logit.get(), logits.get(), 300, label.get(),
                                 1, 0, 300, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(largest.download()[0], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(sum.download()[0], 0.0);
  EXPECT_EQ(label_logit.download()[0], 0.0);
}

TEST(CrossEntropyCuda, NoTokensIsANoOp) {
  cross_entropy_cuda<float>(nullptr, nullptr, 8, nullptr, 0, 8, 1.0F, nullptr);
  cross_entropy_loss_cuda(nullptr, nullptr, nullptr, nullptr, nullptr, 0, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
