/// Drawing the next token from logits, with the meanings and the order of Hugging Face's generate:
/// temperature, then top-k, then top-p.
///   temperature  logits / temperature; 0 takes the largest logit (the lowest token among equals)
///   top_k        tokens whose logit is below the k-th largest are out; 0 = off. Equals of the k-th stay.
///   top_p        of the rest, the fewest most likely tokens whose probabilities sum to at least top_p stay
///                (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751); 1 = off
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/status.h"

namespace tessera::runtime {

struct SamplingOptions {
  double temperature = 1;  // >= 0
  std::int64_t top_k = 0;  // >= 0
  double top_p = 1;        // in (0, 1]
  std::uint64_t seed = 0;
};

/// kInvalidArgument naming the field that is out of range.
[[nodiscard]] Status check_sampling_options(const SamplingOptions& options);

class Sampler {
 public:
  /// Requires options that pass check_sampling_options.
  Sampler(const SamplingOptions& options, std::int64_t vocabulary);

  /// A pure function of (options, logits, position): `position` numbers the draw. Requires finite logits.
  [[nodiscard]] std::int32_t sample(std::span<const float> logits, std::int64_t position);

  /// The distribution sample() draws from, as (token, probability) by falling probability; sums to 1.
  struct Candidate {
    std::int32_t token = 0;
    double probability = 0;
  };
  [[nodiscard]] std::span<const Candidate> distribution(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::vector<Candidate> candidates_;  // reused from call to call
};

}  // namespace tessera::runtime
