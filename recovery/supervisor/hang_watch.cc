#include "recovery/supervisor/hang_watch.h"

#include <algorithm>

namespace tessera::recovery {
namespace {
constexpr std::size_t kSteps = 31;  // that the median is of
}

void HangWatch::observe(const std::vector<Heartbeat>& beats, double now) {
  double slowest = 0;
  std::int64_t step = step_;
  for (const Heartbeat& beat : beats) {
    const auto [at, added] = ranks_.try_emplace(beat.rank, Seen{beat, now});
    if (!added && (at->second.beat.beat != beat.beat || at->second.beat.pid != beat.pid))
      at->second = {beat, now};
    step = std::max(step, beat.step);
    slowest = std::max(slowest, beat.step_s);
  }
  if (step == step_ || slowest <= 0) return;
  step_ = step;
  steps_.push_back(slowest);
  if (steps_.size() > kSteps) steps_.pop_front();
}

double HangWatch::median_step_s() const {
  if (steps_.empty()) return 0;
  std::vector<double> sorted(steps_.begin(), steps_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  return *middle;
}

double HangWatch::limit_s(RankState state) const {
  const double training = std::max(policy_.least_s, policy_.factor * median_step_s());
  return state == RankState::kTraining ? training : std::max(training, policy_.quiet_s);
}

std::optional<Hang> HangWatch::hang(double now) const {
  const Seen* longest = nullptr;
  bool over = false;
  for (const auto& [rank, seen] : ranks_) {
    over = over || now - seen.since > limit_s(seen.beat.state);
    if (longest == nullptr || seen.since < longest->since) longest = &seen;
  }
  if (!over) return std::nullopt;
  return Hang{longest->beat, now - longest->since, limit_s(longest->beat.state)};
}

}  // namespace tessera::recovery
