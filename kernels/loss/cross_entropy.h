/// Cross-entropy of next-token logits, fused with its gradient.
///   loss[t] = logsumexp_v(logits[t,v]) - logits[t,label[t]]        0 where label[t] == kIgnoredLabel
///   d_logits[t,v] = gradient_scale * (softmax(logits[t,:])[v] - [v == label[t]])   0 where ignored
/// Shapes    logits: [T, V] with row stride ld; label: [T], each in [0, V) or kIgnoredLabel; loss: [T].
/// d_logits overwrites logits when gradient_scale != 0; with 0 (evaluation) logits are left as they are.
/// Labels are ignored exactly as Hugging Face does; the caller divides by the count of labels that count.
/// Oracle    cross_entropy_ref.cc, in double.
///
/// Vocabulary parallel (Shoeybi et al. 2019, arXiv:1909.08053, section 3): a rank has columns
/// [first, first + V) of the logits. cross_entropy_part gives its share of a row; with M the largest of the
/// ranks' `largest`, Z = sum over ranks of sum * exp(largest - M) and x the sum of the `label_logit`,
///   loss = log Z + M - x,   and cross_entropy_part_gradient(M, Z) makes the rank's columns of d_logits.
#pragma once

#include <cstdint>

namespace tessera::kernels {

inline constexpr std::int32_t kIgnoredLabel = -100;

void cross_entropy(float* loss_T, float* logits_TV, std::int64_t ld, const std::int32_t* label_T,
                   std::int64_t tokens, std::int64_t vocabulary, float gradient_scale);

/// Per row: the largest logit, sum_v exp(logits - largest), and the label's logit, 0 if another rank has it.
/// A row that is ignored gives 0, 0, 0; one of nothing but -inf gives -inf, 0.
void cross_entropy_part(double* largest_T, double* sum_T, double* label_logit_T, const float* logits_TV,
                        std::int64_t ld, const std::int32_t* label_T, std::int64_t tokens, std::int64_t first,
                        std::int64_t vocabulary);
/// d_logits over logits, from the largest logit and the sum of the whole row.
void cross_entropy_part_gradient(float* logits_TV, std::int64_t ld, const double* largest_T,
                                 const double* sum_T, const std::int32_t* label_T, std::int64_t tokens,
                                 std::int64_t first, std::int64_t vocabulary, float gradient_scale);

void cross_entropy_ref(double* loss, double* d_logits_TV, const float* logits, std::int64_t ld,
                       const std::int32_t* label, std::int64_t tokens, std::int64_t vocabulary,
                       double gradient_scale);

}  // namespace tessera::kernels
