#include "algos/kserver/double_coverage_tree.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace tessera::kserver {

DoubleCoverageTree::DoubleCoverageTree(const TreeMetric& metric, const std::vector<Point>& starts)
    : Online(metric, starts.size()),
      metric_(metric),
      ahead_(starts.size()),
      moved_(starts.size()),
      nearest_first_(starts.size()) {
  for (const Point start : starts) places_.push_back({start, 0});
  std::iota(nearest_first_.begin(), nearest_first_.end(), std::size_t{0});
}

Distance DoubleCoverageTree::between(Role a, Role b) const {
  return metric_.distance(place_of(a), place_of(b));
}

Distance DoubleCoverageTree::pair_sum() const {
  Distance sum = 0;
  for (std::size_t a = 0; a < places_.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) sum += metric_.distance(places_[a], places_[b]);
  }
  return sum;
}

Role DoubleCoverageTree::move_to(Point request) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    ahead_[i] = metric_.distance(places_[i], TreePlace{request, 0});
  }
  std::sort(nearest_first_.begin(), nearest_first_.end(),
            [&](std::size_t a, std::size_t b) { return std::pair(ahead_[a], a) < std::pair(ahead_[b], b); });
  const std::size_t winner = nearest_first_.front();
  const Distance time = ahead_[winner];
  if (time > 0) {
    // Paths to the request join and never part. Where the paths of a and b join, the nearer one comes first,
    // and if it comes before it stops itself, the other is behind it from then on. So each role is decided by
    // those nearer than it.
    for (std::size_t i = 0; i < nearest_first_.size(); ++i) {
      const std::size_t a = nearest_first_[i];
      moved_[a] = time;
      for (std::size_t j = 0; j < i && moved_[a] > 0; ++j) {
        const std::size_t b = nearest_first_[j];
        const Distance joint = (ahead_[a] + ahead_[b] - metric_.distance(places_[a], places_[b])) / 2;
        const Distance arrival = ahead_[b] - joint;
        if (arrival <= moved_[b]) moved_[a] = std::min(moved_[a], arrival);
      }
    }
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (moved_[i] == 0) continue;
      places_[i] = metric_.toward(places_[i], request, moved_[i]);
      pay(Role(static_cast<std::int32_t>(i)), moved_[i]);
    }
    time_ += time;
  }
  return Role(static_cast<std::int32_t>(winner));
}

}  // namespace tessera::kserver
