/// When to try a request again: exponential back-off with full jitter, so that many ranks that were refused
/// together do not come back together. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
/// 2015.
///
///   wait before try n + 1 = uniform in [0, min(longest_wait, first_wait * 2^(n-1))), at least what the
///   server asked for
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "algos/base/clock.h"

namespace tessera::recovery {

struct RetryPolicy {
  int tries = 6;
  Nanoseconds first_wait = std::chrono::milliseconds(200);
  Nanoseconds longest_wait = std::chrono::seconds(20);
  Nanoseconds total = std::chrono::minutes(3);  // no try begins later than this after the first
};

/// Of one request. Pure: the clock is read, nobody sleeps.
class Retries {
 public:
  /// `seed`: another for each request. `clock` must outlive this.
  Retries(const RetryPolicy& policy, const Clock& clock, std::uint64_t seed)
      : policy_(policy), clock_(clock), seed_(seed), started_(clock.now()) {}

  /// After a failure: how long to wait before the next try; none when there is to be no other.
  [[nodiscard]] std::optional<Nanoseconds> next(Nanoseconds asked = Nanoseconds(0));
  [[nodiscard]] int failures() const { return failures_; }

 private:
  RetryPolicy policy_;
  const Clock& clock_;
  std::uint64_t seed_;
  Nanoseconds started_;
  int failures_ = 0;
};

}  // namespace tessera::recovery
