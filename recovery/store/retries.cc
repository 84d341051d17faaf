#include "recovery/store/retries.h"

#include <algorithm>

#include "algos/base/random.h"

namespace tessera::recovery {

std::optional<Nanoseconds> Retries::next(Nanoseconds asked) {
  ++failures_;
  if (failures_ >= policy_.tries) return std::nullopt;
  Nanoseconds ceiling = policy_.first_wait;
  for (int i = 1; i < failures_ && ceiling < policy_.longest_wait; ++i) ceiling *= 2;
  ceiling = std::min(ceiling, policy_.longest_wait);
  const double part = uniform(seed_, static_cast<std::uint64_t>(failures_));
  const Nanoseconds jittered(static_cast<std::int64_t>(part * static_cast<double>(ceiling.count())));
  const Nanoseconds wait = std::max(jittered, asked);
  if (clock_.now() + wait - started_ > policy_.total) return std::nullopt;
  return wait;
}

}  // namespace tessera::recovery
