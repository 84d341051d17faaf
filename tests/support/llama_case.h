/// Parameters and inputs for tests of the model, and how near two gradients are.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "kernels/loss/cross_entropy.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"
#include "tests/support/llama_reference.h"

namespace tessera::support {

/// Weights large enough that no path through the model is negligible.
inline std::vector<float> random_parameters(const runtime::ParameterLayout& layout, std::uint64_t seed) {
  std::vector<float> parameters(static_cast<std::size_t>(layout.total()), 0.0F);
  for (const runtime::ParameterInfo& info : layout.parameters()) {
    const double scale = info.shape.size() == 1 ? 0.2 : 1.2 / std::sqrt(static_cast<double>(info.shape[1]));
    for (std::int64_t i = 0; i < info.count; ++i) {
      const auto at = static_cast<std::size_t>(info.offset + i);
      parameters[at] = static_cast<float>((info.shape.size() == 1 ? 1.0 : 0.0) + scale * normal(seed, at));
    }
  }
  return parameters;
}

inline LlamaInput random_input(const planner::ModelSpec& spec, std::int64_t batch, std::int64_t tokens,
                               std::uint64_t seed) {
  LlamaInput input;
  input.batch = batch;
  input.tokens_per_sequence = tokens;
  for (std::int64_t i = 0; i < batch * tokens; ++i) {
    const auto draw = [&](std::uint64_t stream) {
      return static_cast<std::int32_t>(uniform(derive_key(seed, stream), static_cast<std::uint64_t>(i)) *
                                       static_cast<double>(spec.vocab_size));
    };
    input.tokens.push_back(draw(1));
    input.labels.push_back(draw(2));
  }
  input.labels[2] = kernels::kIgnoredLabel;
  return input;
}

inline std::vector<double> as_doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

inline double norm_of(const std::vector<float>& x, const runtime::ParameterInfo& info) {
  double squares = 0;
  for (std::int64_t i = info.offset; i < info.offset + info.count; ++i) {
    const auto value = static_cast<double>(x[static_cast<std::size_t>(i)]);
    squares += value * value;
  }
  return std::sqrt(squares);
}

/// Each tensor of `x` within `tolerance` times its norm of that of `y`.
inline void expect_gradients_near(const runtime::ParameterLayout& layout, const std::vector<float>& x,
                                  const std::vector<float>& y, double tolerance) {
  for (const runtime::ParameterInfo& info : layout.parameters()) {
    std::vector<float> difference(x.size(), 0.0F);
    for (std::size_t i = 0; i < x.size(); ++i) difference[i] = x[i] - y[i];
    EXPECT_LE(norm_of(difference, info), tolerance * norm_of(y, info)) << info.name;
  }
}

}  // namespace tessera::support
