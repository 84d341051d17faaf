#include "algos/kserver/work_function.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

namespace tessera::kserver {
namespace {

constexpr Distance kFar = std::numeric_limits<Distance>::max();
constexpr std::size_t kOpen = std::numeric_limits<std::size_t>::max();

}  // namespace

WorkFunction::WorkFunction(const Metric& metric, const std::vector<Point>& starts)
    : OnPoints(metric, starts),
      k_(starts.size()),
      from_(starts),
      to_(starts),
      left_(k_, 0),
      right_(k_, 0),
      predecessor_(k_),
      end_(k_, kOpen),
      open_(k_) {
  // Before any request the cheapest way to stay is to stay.
  std::iota(predecessor_.begin(), predecessor_.end(), std::size_t{0});
  std::iota(open_.begin(), open_.end(), std::size_t{0});
}

Distance WorkFunction::distance(std::size_t x, std::size_t y) const {
  return metric().distance(from_[x], to_[y]);
}

void WorkFunction::add_request(Point request) {
  const std::size_t number = from_.size();  // as a successor and as a predecessor
  to_.push_back(request);
  predecessor_.push_back(number);  // until assigned
  Distance right = kFar;
  for (const std::size_t x : open_) right = std::min(right, distance(x, number) - left_[x]);
  right_.push_back(right);
  // Of the predecessors on this point the first serves it; a second one, from a shared start, stays open.
  const auto here =
      std::find_if(open_.begin(), open_.end(), [&](std::size_t x) { return from_[x] == request; });
  if (here != open_.end()) {
    end_[*here] = number + 1;
    open_.erase(here);
  }
  open_.push_back(number);
  from_.push_back(request);
  end_.push_back(kOpen);
  Distance left = kFar;
  for (std::size_t i = 0; i < k_; ++i) left = std::min(left, distance(number, i) - right_[i]);
  left_.push_back(left);
}

void WorkFunction::set_place(std::size_t role, Point place) {
  to_[role] = place;
  Distance right = kFar;
  for (std::size_t x = 0; x < from_.size(); ++x) right = std::min(right, distance(x, role) - left_[x]);
  right_[role] = right;
}

/// One augmenting path of the assignment problem (Hungarian method with Dijkstra), from the predecessor
/// without a successor to the successor without a predecessor.
void WorkFunction::assign(std::size_t free_x, std::size_t free_y) {
  const std::size_t count = to_.size();
  std::vector<Distance> nearest(count, kFar);
  std::vector<std::size_t> via(count, free_x);
  std::vector<std::size_t> settled;
  using Entry = std::pair<Distance, std::size_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> frontier;
  std::size_t x = free_x;
  Distance at_x = 0;
  const auto relax = [&](std::size_t y) {
    const Distance through = at_x + distance(x, y) - left_[x] - right_[y];
    if (through >= nearest[y]) return;
    nearest[y] = through;
    via[y] = x;
    frontier.emplace(through, y);
  };
  while (true) {
    for (std::size_t y = 0; y < k_; ++y) relax(y);
    for (std::size_t y = std::max(x + 1, k_); y < std::min(end_[x], count); ++y) relax(y);
    // Never empty: some schedule keeps to these arcs, so a way to the free successor exists.
    while (frontier.top().first != nearest[frontier.top().second]) frontier.pop();
    const std::size_t y = frontier.top().second;
    frontier.pop();
    if (y == free_y) break;
    settled.push_back(y);
    at_x = nearest[y];
    x = predecessor_[y];
  }
  const Distance length = nearest[free_y];
  left_[free_x] += length;
  for (const std::size_t y : settled) {
    right_[y] -= length - nearest[y];
    left_[predecessor_[y]] += length - nearest[y];
  }
  // Back along the path: each successor takes the predecessor through which it was reached.
  std::vector<std::size_t> successor(from_.size());
  for (const std::size_t y : settled) successor[predecessor_[y]] = y;
  std::size_t y = free_y;
  while (true) {
    predecessor_[y] = via[y];
    if (via[y] == free_x) return;
    y = successor[via[y]];
  }
}

Role WorkFunction::move_to(Point request) {
  const std::size_t number = from_.size();
  add_request(request);
  assign(number, number);
  // The request's successor is the place of the role to move; its place becomes the request.
  const auto places_end = predecessor_.begin() + static_cast<std::ptrdiff_t>(k_);
  const auto role =
      static_cast<std::size_t>(std::find(predecessor_.begin(), places_end, number) - predecessor_.begin());
  set_place(role, request);
  assign(number, role);
  return move(Role(static_cast<std::int32_t>(role)), request);
}

Distance WorkFunction::work() const {
  Distance sum = 0;
  for (std::size_t y = 0; y < to_.size(); ++y) sum += distance(predecessor_[y], y);
  return sum;
}

}  // namespace tessera::kserver
