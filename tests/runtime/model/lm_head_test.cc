#include "runtime/model/lm_head.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "kernels/loss/cross_entropy.h"
#include "tests/support/model_spec.h"

namespace tessera::runtime {
namespace {

struct Case {
  planner::ModelSpec spec;
  std::int64_t rows = 0;
  std::vector<float> hidden;
  std::vector<std::int32_t> labels;
  std::vector<float> parameters;
};

Case make_case(bool tied, std::int64_t rows) {
  Case c;
  c.spec = support::small_model();
  c.spec.hidden_size = 8;
  c.spec.vocab_size = 37;
  c.spec.tie_word_embeddings = tied;
  c.rows = rows;
  const ParameterLayout layout(c.spec);
  c.parameters.resize(static_cast<std::size_t>(layout.total()));
  for (std::size_t i = 0; i < c.parameters.size(); ++i) c.parameters[i] = static_cast<float>(normal(1, i));
  for (std::int64_t i = 0; i < rows * 8; ++i) {
    c.hidden.push_back(static_cast<float>(normal(2, static_cast<std::uint64_t>(i))));
  }
  for (std::int64_t t = 0; t < rows; ++t) {
    const bool ignored = t % 5 == 1 || t >= 2 * 1024;
    c.labels.push_back(ignored ? kernels::kIgnoredLabel : static_cast<std::int32_t>(t * 7 % 37));
  }
  return c;
}

/// 2500 rows are three chunks: the first two ragged with ignored labels, the third ignored throughout.
/// Sums run over up to 2048 rows in fp32: error sqrt(2048) * 6e-8 = 3e-6 of a norm of about sqrt(rows).
TEST(LmHead, ChunksGiveTheLossAndGradientsOfTheWhole) {
  for (const bool tied : {false, true}) {
    const Case c = make_case(tied, 2500);
    const ParameterLayout layout(c.spec);
    const auto& weight = layout.find(tied ? "model.embed_tokens.weight" : "lm_head.weight");
    double loss = 0;
    std::int64_t taken = 0;
    std::vector<double> d_hidden(c.hidden.size(), 0.0);
    std::vector<double> d_weight(static_cast<std::size_t>(weight.count), 0.0);
    for (std::size_t t = 0; t < c.labels.size(); ++t) {
      if (c.labels[t] == kernels::kIgnoredLabel) continue;
      ++taken;
      std::vector<double> p(37, 0.0);
      double sum = 0;
      double label_logit = 0;
      for (std::size_t v = 0; v < 37; ++v) {
        double logit = 0;
        for (std::size_t d = 0; d < 8; ++d) {
          logit += static_cast<double>(c.hidden[t * 8 + d]) *
                   c.parameters[static_cast<std::size_t>(weight.offset) + v * 8 + d];
        }
        if (static_cast<std::int32_t>(v) == c.labels[t]) label_logit = logit;
        sum += p[v] = std::exp(logit);
      }
      loss += std::log(sum) - label_logit;
      for (std::size_t v = 0; v < 37; ++v) {
        const double g = p[v] / sum - (static_cast<std::int32_t>(v) == c.labels[t] ? 1 : 0);
        for (std::size_t d = 0; d < 8; ++d) {
          d_hidden[t * 8 + d] += g * c.parameters[static_cast<std::size_t>(weight.offset) + v * 8 + d];
          d_weight[v * 8 + d] += g * c.hidden[t * 8 + d];
        }
      }
    }

    LmHead head(c.spec, layout, c.rows);
    EXPECT_EQ(head.chunk_rows(), 1024);
    std::vector<float> gradients(c.parameters.size(), 0.0F);
    std::vector<float> dx(c.hidden.size(), NAN);
    const LossSum actual =
        head.loss_and_gradient(c.parameters.data(), gradients.data(), c.hidden.data(), dx.data(), c.labels);
    EXPECT_EQ(actual.labels, taken);
    EXPECT_NEAR(actual.loss, loss, 1e-6 * loss);
    for (std::size_t i = 0; i < dx.size(); ++i) ASSERT_NEAR(dx[i], d_hidden[i], 2e-5) << i;
    for (std::size_t i = 0; i < d_weight.size(); ++i) {
      ASSERT_NEAR(gradients[static_cast<std::size_t>(weight.offset) + i], d_weight[i], 1e-3) << i;
    }
    const LossSum evaluated = head.loss(c.parameters.data(), c.hidden.data(), c.labels);
    EXPECT_EQ(evaluated.loss, actual.loss);
    EXPECT_EQ(evaluated.labels, actual.labels);
  }
}

TEST(LmHead, LogitsMemoryIsBounded) {
  planner::ModelSpec spec = make_case(false, 1).spec;
  spec.vocab_size = 128256;
  const LmHead head(spec, ParameterLayout(spec), 100000);
  EXPECT_LE(head.buffer_floats() * 4, std::int64_t{70} << 20);
  EXPECT_EQ(head.chunk_rows(), (1 << 24) / 128256);
}

}  // namespace
}  // namespace tessera::runtime
