#include "runtime/model/lm_head.h"

#include <algorithm>

#include "kernels/gemm/gemm.h"
#include "kernels/loss/cross_entropy.h"

namespace tessera::runtime {
namespace {

using kernels::Transpose;

constexpr std::int64_t kLogitsFloats = std::int64_t{1} << 24;
constexpr std::int64_t kLeastRows = 64;   // fewer, and the products stop being matrix products
constexpr std::int64_t kMostRows = 1024;  // more gains nothing

}  // namespace

LmHead::LmHead(const planner::ModelSpec& spec, const ParameterLayout& layout, std::int64_t rows)
    : weight_(layout.find(spec.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight").offset),
      hidden_(spec.hidden_size),
      vocabulary_(spec.vocab_size),
      chunk_rows_(std::min(rows, std::clamp(kLogitsFloats / spec.vocab_size, kLeastRows, kMostRows))),
      ld_((spec.vocab_size + 15) / 16 * 16),
      logits_(chunk_rows_ * ld_),
      losses_(chunk_rows_) {}

LossSum LmHead::loss(const float* parameters, const float* hidden_TD,
                     std::span<const std::int32_t> labels_T) {
  return run(parameters, nullptr, hidden_TD, nullptr, labels_T);
}

LossSum LmHead::loss_and_gradient(const float* parameters, float* gradients, const float* hidden_TD,
                                  float* d_hidden_TD, std::span<const std::int32_t> labels_T) {
  return run(parameters, gradients, hidden_TD, d_hidden_TD, labels_T);
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
    kernels::cross_entropy(losses_.data(), logits_.data(), ld_, chunk.data(), count, vocabulary_,
                           gradients == nullptr ? 0.0F : 1.0F);
    for (std::int64_t t = 0; t < count; ++t) sum.loss += losses_[t];
    sum.labels += taken;
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
