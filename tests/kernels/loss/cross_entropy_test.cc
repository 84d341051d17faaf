// Held to the double oracle. u = 2^-24. A probability: the difference x - max of floats errs by u |x - max|,
// which exp turns into a relative error of the same size; it matters only while exp is above 2^-24 or so,
// |x - max| < 17; exp 2 u, the sum (positive terms, at most 512 in a row per lane, observed < 8 u), the
// factor and the product 2 u: 32 u relatively, plus an absolute 2^-24 * 2^-20 for the vanishing ones. The
// label's entry is the difference p - 1 and errs by 32 u absolutely. The loss errs by the relative error of
// the sum plus a rounding of the loss: 16 u + u |loss|.
#include "kernels/loss/cross_entropy.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/loss/labels.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::expect_same_for_any_threads;
using testing_support::for_each_simd_target;
using testing_support::labels;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;
constexpr float kInf = std::numeric_limits<float>::infinity();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

void expect_right(const std::vector<float>& logits, std::int64_t ld, const std::vector<std::int32_t>& label,
                  std::int64_t vocabulary, float scale) {
  const auto tokens = static_cast<std::int64_t>(label.size());
  std::vector<float> got = logits;
  std::vector<float> loss(label.size(), -1.0F);
  cross_entropy(loss.data(), got.data(), ld, label.data(), tokens, vocabulary, scale);
  std::vector<double> loss_ref(label.size());
  std::vector<double> d_ref(size(tokens * vocabulary));
  cross_entropy_ref(loss_ref.data(), d_ref.data(), logits.data(), ld, label.data(), tokens, vocabulary,
                    scale);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int32_t l = label[size(t)];
    ASSERT_NEAR(loss[size(t)], loss_ref[size(t)], 16 * kU + kU * std::abs(loss_ref[size(t)]))
        << "token " << t;
    for (std::int64_t v = 0; v < ld; ++v) {
      const std::size_t at = size(t * ld + v);
      if (v >= vocabulary || scale == 0) {
        ASSERT_EQ(got[at], logits[at]) << "wrote where it should not, token " << t << " column " << v;
        continue;
      }
      const double want = d_ref[size(t * vocabulary + v)];
      const double bound = std::abs(scale) * 32 * kU * (v == l ? 1.0 : std::abs(want / scale) + 0x1p-20);
      ASSERT_NEAR(got[at], want, bound) << "token " << t << " column " << v << " label " << l;
    }
  }
}

TEST(CrossEntropy, AgreesWithTheOracleOnRaggedShapesWithIgnoredLabels) {
  for_each_simd_target([] {
    for (const std::int64_t vocabulary : {1, 2, 15, 16, 33, 256, 1000, 2048, 2049, 6007}) {
      for (const std::int64_t tokens : {1, 7}) {
        for (const std::int64_t gap : {0, 3}) {
          for (const float scale : {0.0F, 1.0F, 0.01F}) {
            expect_right(uniform_floats(tokens * (vocabulary + gap), 1, -5, 5), vocabulary + gap,
                         labels(tokens, vocabulary), vocabulary, scale);
          }
        }
      }
    }
  });
}

TEST(CrossEntropy, AVocabularyBeyondTheChunkTableStaysRight) {
  constexpr std::int64_t kVocabulary = 600'001;
  for_each_simd_target(
      [] { expect_right(uniform_floats(kVocabulary, 1, -5, 5), kVocabulary, {599'999}, kVocabulary, 1.0F); });
}

TEST(CrossEntropy, ExtremeLogits) {
  for_each_simd_target([] {
    for (const float large : {100.0F, 1e4F, 1e30F}) {
      std::vector<float> logits(5000, -large);
      logits[4321] = large;  // all the mass, in the third chunk
      logits[17] = large / 2;
      expect_right(logits, 5000, {4321}, 5000, 1.0F);
      expect_right(logits, 5000, {17}, 5000, 1.0F);
      expect_right(std::vector<float>(3000, large), 3000, {0}, 3000, 1.0F);
      expect_right(std::vector<float>(3000, -large), 3000, {2999}, 3000, 1.0F);
    }
  });
}

TEST(CrossEntropy, MaskedLogitsHaveNoProbabilityAlsoWhereAWholeChunkIsMasked) {
  for_each_simd_target([] {
    std::vector<float> logits = uniform_floats(7000, 1);
    for (std::size_t v = 1000; v < 6500; ++v) logits[v] = -kInf;
    expect_right(logits, 7000, {3}, 7000, 1.0F);
    expect_right(logits, 7000, {6999}, 7000, 0.5F);
  });
}

TEST(CrossEntropy, ANanShowsInTheLoss) {
  for_each_simd_target([] {
    for (const std::size_t bad : {0U, 777U, 2999U}) {
      std::vector<float> logits = uniform_floats(3000, 1);
      logits[bad] = std::numeric_limits<float>::quiet_NaN();
      float loss = 0;
      const std::int32_t label = 5;
      cross_entropy(&loss, logits.data(), 3000, &label, 1, 3000, 0.0F);
      EXPECT_TRUE(std::isnan(loss)) << bad;
    }
  });
}

TEST(CrossEntropy, TheGradientOfARowSumsToNothing) {
  for_each_simd_target([] {
    std::vector<float> logits = uniform_floats(50'304, 1, -8, 8);
    float loss = 0;
    const std::int32_t label = 50'000;
    cross_entropy(&loss, logits.data(), 50'304, &label, 1, 50'304, 1.0F);
    double sum = 0;
    for (const float d : logits) sum += d;
    EXPECT_NEAR(sum, 0, 64 * kU);
  });
}

TEST(CrossEntropy, IsTheSameForAnyNumberOfThreads) {
  for_each_simd_target([] {
    const auto logits = uniform_floats(60 * 3001, 1, -5, 5);
    const auto label = labels(60, 3001);
    expect_same_for_any_threads([&] {
      std::vector<float> out = logits;
      std::vector<float> loss(60);
      cross_entropy(loss.data(), out.data(), 3001, label.data(), 60, 3001, 0.1F);
      out.insert(out.end(), loss.begin(), loss.end());
      return out;
    });
  });
}

TEST(CrossEntropy, NoTokensIsANoOp) { cross_entropy(nullptr, nullptr, 10, nullptr, 0, 10, 1.0F); }

TEST(CrossEntropy, RefusesALabelOutsideTheVocabulary) {
  std::vector<float> logits(10);
  float loss = 0;
  for (const std::int32_t label : {-1, 10}) {
    EXPECT_DEATH(cross_entropy(&loss, logits.data(), 10, &label, 1, 10, 1.0F), "label");
  }
}

/// The vocabulary cut into parts, put together as the header says, against the oracle of the whole row.
/// Beyond the bounds of the whole, the sum passes once more through a product and an addition per part, in
/// double.
TEST(CrossEntropy, PartsOfTheVocabularyAreTheWhole) {
  for_each_simd_target([] {
    for (const std::int64_t vocabulary : {4, 33, 1000, 2049}) {
      for (const int parts : {1, 2, 3, 4}) {
        constexpr std::int64_t kTokens = 7;
        std::vector<float> logits = uniform_floats(kTokens * vocabulary, 1, -5, 5);
        logits[2] = 60;  // the label's or not, one part dwarfs the others
        for (std::int64_t v = 0; v < vocabulary / 2; ++v)
          logits[size(vocabulary + v)] = -kInf;  // a part of nothing
        const std::vector<std::int32_t> label = labels(kTokens, vocabulary);
        std::vector<double> loss_ref(label.size());
        std::vector<double> d_ref(logits.size());
        cross_entropy_ref(loss_ref.data(), d_ref.data(), logits.data(), vocabulary, label.data(), kTokens,
                          vocabulary, 1);
        const auto first = [&](int part) { return vocabulary * part / parts; };
        std::vector<double> largest(label.size(), -INFINITY);
        std::vector<std::vector<double>> own_largest(size(parts)), own_sum(size(parts)),
            own_label(size(parts));
        for (int p = 0; p < parts; ++p) {
          for (auto* values : {&own_largest[size(p)], &own_sum[size(p)], &own_label[size(p)]}) {
            values->resize(label.size());
          }
          cross_entropy_part(own_largest[size(p)].data(), own_sum[size(p)].data(), own_label[size(p)].data(),
                             logits.data() + first(p), vocabulary, label.data(), kTokens, first(p),
                             first(p + 1) - first(p));
          for (std::size_t t = 0; t < label.size(); ++t)
            largest[t] = std::max(largest[t], own_largest[size(p)][t]);
        }
        std::vector<double> sum(label.size(), 0.0);
        std::vector<double> label_logit(label.size(), 0.0);
        for (int p = 0; p < parts; ++p) {
          for (std::size_t t = 0; t < label.size(); ++t) {
            sum[t] += own_sum[size(p)][t] * std::exp(own_largest[size(p)][t] - largest[t]);
            label_logit[t] += own_label[size(p)][t];
          }
        }
        for (int p = 0; p < parts; ++p) {
          cross_entropy_part_gradient(logits.data() + first(p), vocabulary, largest.data(), sum.data(),
                                      label.data(), kTokens, first(p), first(p + 1) - first(p), 1.0F);
        }
        for (std::int64_t t = 0; t < kTokens; ++t) {
          const std::int32_t l = label[size(t)];
          if (l != kIgnoredLabel) {
            const double loss = std::log(sum[size(t)]) + (largest[size(t)] - label_logit[size(t)]);
            ASSERT_NEAR(loss, loss_ref[size(t)], 16 * kU + kU * std::abs(loss_ref[size(t)])) << "token " << t;
          }
          for (std::int64_t v = 0; v < vocabulary; ++v) {
            const double want = d_ref[size(t * vocabulary + v)];
            const double bound = 32 * kU * (v == l ? 1.0 : std::abs(want) + 0x1p-20);
            ASSERT_NEAR(logits[size(t * vocabulary + v)], want, bound)
                << parts << " parts, token " << t << " column " << v;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace tessera::kernels
