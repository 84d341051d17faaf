#include "runtime/model/sampler.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"

namespace tessera::runtime {

Status check_sampling_options(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    return bad_input({"--temperature", "", fmt::format("{}", options.temperature), "a number from 0",
                      "0 always takes the likeliest token, 1 samples from the model as it is"});
  }
  if (options.top_k < 0) {
    return bad_input({"--top-k", "", fmt::format("{}", options.top_k), "an integer from 0",
                      "0 keeps all tokens, 40 is a common choice"});
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return bad_input({"--top-p", "", fmt::format("{}", options.top_p), "a number above 0, up to 1",
                      "1 keeps all tokens, 0.95 is a common choice"});
  }
  return {};
}

Sampler::Sampler(const SamplingOptions& options, std::int64_t vocabulary) : options_(options) {
  TS_REQUIRE(check_sampling_options(options).ok());
  candidates_.reserve(static_cast<std::size_t>(vocabulary));
}

std::span<const Sampler::Candidate> Sampler::distribution(std::span<const float> logits) {
  TS_REQUIRE(!logits.empty());
  candidates_.clear();
  if (options_.temperature == 0) {
    const auto best = std::ranges::max_element(logits);  // the first of equals
    candidates_.push_back({static_cast<std::int32_t>(best - logits.begin()), 1.0});
    return candidates_;
  }

  for (std::size_t v = 0; v < logits.size(); ++v) {
    TS_REQUIRE(std::isfinite(logits[v]), v, logits[v]);
    candidates_.push_back({static_cast<std::int32_t>(v), logits[v] / options_.temperature});
  }
  const auto likelier = [](const Candidate& x, const Candidate& y) {
    return x.probability != y.probability ? x.probability > y.probability : x.token < y.token;
  };
  if (options_.top_k > 0 && options_.top_k < static_cast<std::int64_t>(candidates_.size())) {
    const auto kth = candidates_.begin() + (options_.top_k - 1);
    std::ranges::nth_element(candidates_, kth, likelier);
    const double least = kth->probability;
    std::erase_if(candidates_, [&](const Candidate& c) { return c.probability < least; });
  }
  std::ranges::sort(candidates_, likelier);

  const double largest = candidates_.front().probability;
  double sum = 0;
  for (Candidate& c : candidates_) sum += c.probability = std::exp(c.probability - largest);
  double kept = 0;
  std::size_t keep = 0;
  while (keep < candidates_.size() && kept < options_.top_p * sum) kept += candidates_[keep++].probability;
  candidates_.resize(std::max<std::size_t>(keep, 1));
  for (Candidate& c : candidates_) c.probability /= kept;
  return candidates_;
}

std::int32_t Sampler::sample(std::span<const float> logits, std::int64_t position) {
  const auto candidates = distribution(logits);
  double left = uniform(options_.seed, static_cast<std::uint64_t>(position));
  for (const Candidate& c : candidates) {
    left -= c.probability;
    if (left < 0) return c.token;
  }
  return candidates.back().token;  // the probabilities summed to a rounding below 1
}

}  // namespace tessera::runtime
