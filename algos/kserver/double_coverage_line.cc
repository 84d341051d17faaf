#include "algos/kserver/double_coverage_line.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace tessera::kserver {

DoubleCoverageLine::DoubleCoverageLine(const LineMetric& metric, const std::vector<Point>& starts)
    : Online(metric, starts.size()), metric_(metric), labels_(starts.size()) {
  for (std::size_t role = 0; role < starts.size(); ++role)
    order_.emplace_back(static_cast<std::int32_t>(role));
  const auto start = [&](Role role) { return starts[static_cast<std::size_t>(role.value)]; };
  std::stable_sort(order_.begin(), order_.end(),
                   [&](Role a, Role b) { return metric.position(start(a)) < metric.position(start(b)); });
  for (std::size_t label = 0; label < order_.size(); ++label) {
    const Role role = order_[label];
    labels_[static_cast<std::size_t>(role.value)] = label;
    positions_.push_back(metric.position(start(role)));
  }
}

Distance DoubleCoverageLine::position(Role role) const {
  return positions_[labels_[static_cast<std::size_t>(role.value)]];
}

Distance DoubleCoverageLine::between(Role a, Role b) const { return std::abs(position(a) - position(b)); }

void DoubleCoverageLine::shift(std::size_t label, Distance by) {
  positions_[label] += by;
  pay(order_[label], std::abs(by));
}

Role DoubleCoverageLine::move_to(Point request) {
  const Distance x = metric_.position(request);
  // Labels before `right` stand left of x; of equal places this picks the outermost labels.
  const auto right = static_cast<std::size_t>(std::lower_bound(positions_.begin(), positions_.end(), x) -
                                              positions_.begin());
  std::size_t serving = right;
  if (right == positions_.size()) {
    serving = right - 1;
    shift(serving, x - positions_[serving]);
  } else if (positions_[right] > x) {
    const Distance to_right = positions_[right] - x;
    if (right == 0) {
      shift(right, -to_right);
    } else {
      const Distance to_left = x - positions_[right - 1];
      const Distance by = std::min(to_left, to_right);
      shift(right - 1, by);
      shift(right, -by);
      serving = to_left <= to_right ? right - 1 : right;
    }
  }
  return order_[serving];
}

}  // namespace tessera::kserver
