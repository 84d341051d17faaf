#include "algos/kserver/work_function.h"

#include <algorithm>
#include <limits>

namespace tessera::kserver {
namespace {

constexpr Distance kFar = std::numeric_limits<Distance>::max();

}  // namespace

WorkFunction::WorkFunction(const Metric& metric, std::vector<Point> starts)
    : OnPoints(metric, starts), k_(starts.size()), from_(starts), to_(starts), left_(k_, 0), right_(k_, 0) {
  // Before any request the cheapest way to stay is to stay.
  for (std::size_t i = 0; i < k_; ++i) predecessor_.push_back(i);
}

bool WorkFunction::may_precede(std::size_t x, std::size_t y) const { return y < k_ || x < y; }

Distance WorkFunction::distance(std::size_t x, std::size_t y) const {
  return metric().distance(from_[x], to_[y]);
}

Distance WorkFunction::free_dual(std::size_t y) const {
  Distance dual = kFar;
  for (std::size_t x = 0; x < from_.size(); ++x) {
    if (may_precede(x, y)) dual = std::min(dual, distance(x, y) - left_[x]);
  }
  return dual;
}

/// One augmenting path of the assignment problem (Hungarian method with Dijkstra), from the predecessor
/// without a successor to the successor without a predecessor.
void WorkFunction::assign(std::size_t free_x, std::size_t free_y) {
  const std::size_t count = to_.size();
  std::vector<Distance> nearest(count, kFar);
  std::vector<std::size_t> via(count, free_x);
  std::vector<bool> settled(count, false);
  std::vector<std::size_t> order;
  std::size_t x = free_x;
  Distance at_x = 0;
  std::size_t y = free_y;
  while (true) {
    y = count;
    for (std::size_t i = 0; i < count; ++i) {
      if (settled[i]) continue;
      if (may_precede(x, i)) {
        const Distance through = at_x + distance(x, i) - left_[x] - right_[i];
        if (through < nearest[i]) {
          nearest[i] = through;
          via[i] = x;
        }
      }
      if (y == count || nearest[i] < nearest[y]) y = i;
    }
    if (y == free_y) break;
    settled[y] = true;
    order.push_back(y);
    at_x = nearest[y];
    x = predecessor_[y];
  }
  const Distance length = nearest[free_y];
  left_[free_x] += length;
  for (const std::size_t i : order) {
    right_[i] -= length - nearest[i];
    left_[predecessor_[i]] += length - nearest[i];
  }
  // Back along the path: each successor takes the predecessor through which it was reached.
  std::vector<std::size_t> successor(from_.size(), count);
  for (const std::size_t i : order) successor[predecessor_[i]] = i;
  while (true) {
    x = via[y];
    predecessor_[y] = x;
    if (x == free_x) return;
    y = successor[x];
  }
}

Role WorkFunction::move_to(Point request) {
  const std::size_t x = from_.size();
  const std::size_t y = to_.size();
  to_.push_back(request);
  predecessor_.push_back(x);
  right_.push_back(free_dual(y));
  from_.push_back(request);
  // Any value that keeps all slacks non-negative; the path makes one of them 0.
  Distance left = kFar;
  for (std::size_t i = 0; i < k_; ++i) left = std::min(left, distance(x, i) - right_[i]);
  left_.push_back(left);
  assign(x, y);

  // The request's successor is the place of the role to move; its place becomes the request.
  const auto role = static_cast<std::size_t>(
      std::find(predecessor_.begin(), predecessor_.begin() + static_cast<std::ptrdiff_t>(k_), x) -
      predecessor_.begin());
  to_[role] = request;
  right_[role] = free_dual(role);
  assign(x, role);
  return move(Role(static_cast<std::int32_t>(role)), request);
}

Distance WorkFunction::work() const {
  Distance sum = 0;
  for (std::size_t y = 0; y < to_.size(); ++y) sum += distance(predecessor_[y], y);
  return sum;
}

}  // namespace tessera::kserver
