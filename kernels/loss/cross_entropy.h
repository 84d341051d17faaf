/// Cross-entropy of next-token logits, fused with its gradient.
///   loss[t] = logsumexp_v(logits[t,v]) - logits[t,label[t]]        0 where label[t] == kIgnoredLabel
///   d_logits[t,v] = gradient_scale * (softmax(logits[t,:])[v] - [v == label[t]])   0 where ignored
/// Shapes    logits: [T, V] with row stride ld; label: [T], each in [0, V) or kIgnoredLabel; loss: [T].
/// d_logits overwrites logits when gradient_scale != 0; with 0 (evaluation) logits are left as they are.
/// Labels are ignored exactly as Hugging Face does; the caller divides by the count of labels that count.
/// Oracle    cross_entropy_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

inline constexpr std::int32_t kIgnoredLabel = -100;

void cross_entropy(float* loss_T, float* logits_TV, std::int64_t ld, const std::int32_t* label_T,
                   std::int64_t tokens, std::int64_t vocabulary, float gradient_scale);

void cross_entropy_ref(double* loss, double* d_logits_TV, const float* logits, std::int64_t ld,
                       const std::int32_t* label, std::int64_t tokens, std::int64_t vocabulary,
                       double gradient_scale);

}  // namespace tessera::kernels
