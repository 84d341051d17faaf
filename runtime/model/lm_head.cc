#include "runtime/model/lm_head.h"

#include <algorithm>
#include <cmath>

#include "kernels/gemm/gemm.h"
#include "kernels/loss/cross_entropy.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

using kernels::Transpose;

constexpr std::int64_t kLogitsFloats = std::int64_t{1} << 24;
constexpr std::int64_t kLeastRows = 64;   // fewer, and the products stop being matrix products
constexpr std::int64_t kMostRows = 1024;  // more gains nothing

}  // namespace

LmHead::LmHead(const planner::ModelSpec& spec, const ParameterLayout& layout, std::int64_t rows)
    : LmHead(spec, layout, rows, whole_model(spec), nullptr) {}

LmHead::LmHead(const planner::ModelSpec& spec, const ParameterLayout& layout, std::int64_t rows,
               const ModelSlice& slice, Communicator* comm)
    : weight_(layout.find(spec.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight").offset),
      hidden_(spec.hidden_size),
      first_token_(tensor_block(spec.vocab_size, slice).begin),
      vocabulary_(tensor_block(spec.vocab_size, slice).count()),
      comm_(comm),
      counts_(slice.tensor_rank == 0),
      chunk_rows_(chunk_rows(rows, vocabulary_)),
      ld_((vocabulary_ + 15) / 16 * 16),
      logits_(chunk_rows_ * ld_),
      losses_(chunk_rows_),
      largest_(static_cast<std::size_t>(comm == nullptr ? 0 : chunk_rows_)),
      sums_(2 * largest_.size()) {}

std::int64_t LmHead::chunk_rows(std::int64_t rows, std::int64_t vocabulary) {
  return std::min(rows, std::clamp(kLogitsFloats / vocabulary, kLeastRows, kMostRows));
}

LossSum LmHead::loss(const float* parameters, const float* hidden_TD,
                     std::span<const std::int32_t> labels_T) {
  return run(parameters, nullptr, hidden_TD, nullptr, labels_T);
}

LossSum LmHead::loss_and_gradient(const float* parameters, float* gradients, const float* hidden_TD,
                                  float* d_hidden_TD, std::span<const std::int32_t> labels_T) {
  return run(parameters, gradients, hidden_TD, d_hidden_TD, labels_T);
}

void LmHead::chunk_loss(std::span<const std::int32_t> labels, bool gradient) {
  const auto count = static_cast<std::int64_t>(labels.size());
  if (comm_ == nullptr) {
    kernels::cross_entropy(losses_.data(), logits_.data(), ld_, labels.data(), count, vocabulary_,
                           gradient ? 1.0F : 0.0F);
    return;
  }
  double* sums = sums_.data();
  double* label_logits = sums + count;
  kernels::cross_entropy_part(largest_.data(), sums, label_logits, logits_.data(), ld_, labels.data(), count,
                              first_token_, vocabulary_);
  const std::vector<double> own_largest(largest_.begin(), largest_.begin() + count);
  all_reduce(*comm_, {largest_.data(), labels.size()}, Reduction::kMax);
  for (std::size_t t = 0; t < labels.size(); ++t) sums[t] *= std::exp(own_largest[t] - largest_[t]);
  all_reduce(*comm_, {sums, 2 * labels.size()}, Reduction::kSum);
  for (std::size_t t = 0; t < labels.size(); ++t) {
    const bool ignored = labels[t] == kernels::kIgnoredLabel;
    losses_[static_cast<std::int64_t>(t)] =
        ignored ? 0.0F : static_cast<float>(std::log(sums[t]) + (largest_[t] - label_logits[t]));
  }
  if (!gradient) return;
  kernels::cross_entropy_part_gradient(logits_.data(), ld_, largest_.data(), sums, labels.data(), count,
                                       first_token_, vocabulary_, 1.0F);
}

LossSum LmHead::run(const float* parameters, float* gradients, const float* hidden, float* d_hidden,
                    std::span<const std::int32_t> labels) {
  const auto rows = static_cast<std::int64_t>(labels.size());
  const float* weight = parameters + weight_;
  LossSum sum;
  for (std::int64_t begin = 0; begin < rows; begin += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, rows - begin);
    const auto chunk = labels.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    const float* x = hidden + begin * hidden_;
    float* dx = d_hidden == nullptr ? nullptr : d_hidden + begin * hidden_;
    const std::int64_t taken = count - std::ranges::count(chunk, kernels::kIgnoredLabel);
    if (taken == 0) {  // a prompt or padding: no loss, no gradient, no product
      if (dx != nullptr) std::fill_n(dx, count * hidden_, 0.0F);
      continue;
    }
    kernels::gemm({count, vocabulary_, hidden_}, Transpose::kNo, Transpose::kYes, 1, x, hidden_, weight,
                  hidden_, 0, logits_.data(), ld_);
    chunk_loss(chunk, gradients != nullptr);
    if (counts_) {
      for (std::int64_t t = 0; t < count; ++t) sum.loss += losses_[t];
      sum.labels += taken;
    }
    if (gradients == nullptr) continue;
    kernels::gemm({count, hidden_, vocabulary_}, Transpose::kNo, Transpose::kNo, 1, logits_.data(), ld_,
                  weight, hidden_, 0, dx, hidden_);
    kernels::gemm({vocabulary_, hidden_, count}, Transpose::kYes, Transpose::kNo, 1, logits_.data(), ld_, x,
                  hidden_, 1, gradients + weight_, hidden_);
  }
  return sum;
}

void LmHead::logits(float* out_TV, const float* parameters, const float* hidden_TD, std::int64_t rows) const {
  kernels::gemm({rows, vocabulary_, hidden_}, Transpose::kNo, Transpose::kYes, 1, hidden_TD, hidden_,
                parameters + weight_, hidden_, 0, out_TV, vocabulary_);
}

}  // namespace tessera::runtime
