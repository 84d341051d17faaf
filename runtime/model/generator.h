/// Inference of one sequence with a key/value cache: each token's keys and values are computed once.
///
/// Legend    D hidden, G key/value heads, d head width, V vocabulary, L layers.
/// Memory    cache 2 * L * capacity * G * d floats and scratch for kPrefillRows rows, allocated in the
///           constructor. A prompt is fed in pieces of at most kPrefillRows tokens.
/// Result    the logits of Transformer::logits on the whole sequence, to rounding.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

class Generator {
 public:
  static constexpr std::int64_t kPrefillRows = 256;

  /// `parameters` (flat) must live as long as this; capacity in tokens.
  Generator(const planner::ModelSpec& spec, const ParameterLayout& layout, const float* parameters,
            std::int64_t capacity);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// Appends tokens to the sequence; returns the logits [V] after the last, valid until the next call.
  /// every_logits, if not null, receives those after each token, [tokens.size(), V].
  /// Requires  at least one token, each in [0, V), and length() + tokens.size() <= capacity.
  std::span<const float> feed(std::span<const std::int32_t> tokens, float* every_logits = nullptr);
  /// Forgets the sequence.
  void reset();
  [[nodiscard]] std::int64_t length() const;  // tokens fed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::runtime
