#include "algos/kserver/optimum.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>
#include <utility>

namespace tessera::kserver {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
constexpr Distance kSettled = std::numeric_limits<Distance>::max();

// A predecessor is a number: 0..k-1 the servers, k + t request t. A successor is a request t.
//
// Duals: d(x,t) >= left[x] + right[t] for each arc, with equality where x precedes t; left[x] <= 0, with
// equality where x has no successor (the arc to the sink, cost 0). Such duals prove the schedule optimal.

/// Which requests each predecessor may be followed by: a contiguous range.
class Arcs {
 public:
  Arcs(const Instance& instance, Form form)
      : k_(instance.servers.size()), ends_(k_ + instance.requests.size(), instance.requests.size()) {
    if (form == Form::kDense) return;
    // From the back: `next` holds the first request of each point behind t.
    std::unordered_map<std::int32_t, std::size_t> next;
    for (std::size_t t = instance.requests.size(); t-- > 0;) {
      const std::int32_t p = instance.requests[t].value;
      if (const auto found = next.find(p); found != next.end()) ends_[k_ + t] = found->second + 1;
      next[p] = t;
    }
    // Of servers that start on one point the first serves its first request; the others stay free to wait.
    for (std::size_t j = 0; j < k_; ++j) {
      const auto found = next.find(instance.servers[j].value);
      if (found == next.end()) continue;
      ends_[j] = found->second + 1;
      next.erase(found);
    }
  }
  [[nodiscard]] std::size_t begin_of(std::size_t x) const { return x < k_ ? 0 : x - k_ + 1; }
  [[nodiscard]] std::size_t end_of(std::size_t x) const { return ends_[x]; }
  [[nodiscard]] double count() const {
    double sum = 0;
    for (std::size_t x = 0; x < ends_.size(); ++x) sum += static_cast<double>(end_of(x) - begin_of(x));
    return sum;
  }

 private:
  std::size_t k_;
  std::vector<std::size_t> ends_;
};

/// Open requests of one Dijkstra run, found again by a pass over all of them: O(T) each.
class ScanFrontier {
 public:
  explicit ScanFrontier(std::size_t requests) : keys_(requests) {}
  void clear() { std::fill(keys_.begin(), keys_.end(), kSettled); }
  void lower(std::size_t t, Distance distance) { keys_[t] = distance; }
  /// The nearest request and its distance; (kNone, kSettled) when none is open.
  std::pair<std::size_t, Distance> settle_nearest() {
    const auto nearest = std::min_element(keys_.begin(), keys_.end());
    if (nearest == keys_.end() || *nearest == kSettled) return {kNone, kSettled};
    const Distance distance = std::exchange(*nearest, kSettled);
    return {static_cast<std::size_t>(nearest - keys_.begin()), distance};
  }

 private:
  std::vector<Distance> keys_;
};

/// The same by a heap, which pays when few arcs leave each request.
class HeapFrontier {
 public:
  explicit HeapFrontier(std::size_t requests) : keys_(requests) {}
  void clear() {
    std::fill(keys_.begin(), keys_.end(), kSettled);
    heap_ = {};
  }
  void lower(std::size_t t, Distance distance) {
    keys_[t] = distance;
    heap_.emplace(distance, t);
  }
  std::pair<std::size_t, Distance> settle_nearest() {
    while (!heap_.empty()) {
      const auto [distance, t] = heap_.top();
      heap_.pop();
      if (keys_[t] != distance) continue;  // lowered again or settled since
      keys_[t] = kSettled;
      return {t, distance};
    }
    return {kNone, kSettled};
  }

 private:
  using Entry = std::pair<Distance, std::size_t>;
  std::vector<Distance> keys_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
};

template <class Frontier>
class Assignment {
 public:
  Assignment(const Metric& metric, const Instance& instance, const Arcs& arcs)
      : metric_(metric),
        arcs_(arcs),
        k_(instance.servers.size()),
        requests_(instance.requests),
        points_(instance.servers),
        scratch_(static_cast<std::size_t>(metric.points())),
        left_(k_ + requests_.size(), 0),
        right_(requests_.size()),
        predecessor_(requests_.size()),
        successor_(k_ + requests_.size(), kNone),
        nearest_(requests_.size()),
        via_(requests_.size()),
        frontier_(requests_.size()) {
    points_.insert(points_.end(), requests_.begin(), requests_.end());
    serve_all_by_server_0();
  }

  void add_server(std::size_t server) {
    std::fill(nearest_.begin(), nearest_.end(), Distance{0});  // a way of length >= 0 gains nothing
    frontier_.clear();
    settled_.clear();
    Distance best = 0;  // gain (<= 0) of the best way so far, and the request whose predecessor it frees
    std::size_t best_end = kNone;
    std::size_t x = server;
    Distance at_x = 0;
    while (true) {
      relax(x, at_x - left_[x]);
      const auto [t, distance] = frontier_.settle_nearest();
      if (t == kNone || distance >= best) break;
      settled_.push_back(t);
      x = predecessor_[t];
      at_x = distance;
      if (at_x - left_[x] < best) {
        best = at_x - left_[x];
        best_end = t;
      }
    }
    left_[server] = best;
    for (const std::size_t t : settled_) {
      const Distance nearer = std::max(best - nearest_[t], Distance{0});
      right_[t] -= nearer;
      left_[predecessor_[t]] += nearer;
    }
    if (best_end != kNone) hand_over(server, best_end);
  }

  [[nodiscard]] Schedule schedule() const {
    Schedule schedule;
    schedule.server_of.reserve(requests_.size());
    for (std::size_t t = 0; t < requests_.size(); ++t) {
      const std::size_t x = predecessor_[t];
      schedule.server_of.push_back(x < k_ ? Server(static_cast<std::int32_t>(x))
                                          : schedule.server_of[x - k_]);
    }
    return schedule;
  }

 private:
  /// Calls f(t, d(x, t)) for the requests t >= begin that x may precede.
  template <class F>
  void for_each_arc(std::size_t x, std::size_t begin, F f) {
    const std::size_t end = arcs_.end_of(x);
    if (begin >= end) return;
    if (end - begin < scratch_.size() / 4) {
      for (std::size_t t = begin; t < end; ++t) f(t, metric_.distance(points_[x], requests_[t]));
      return;
    }
    const std::span<const Distance> row = metric_.distances_from(points_[x], scratch_);
    for (std::size_t t = begin; t < end; ++t) f(t, row[static_cast<std::size_t>(requests_[t].value)]);
  }

  /// The only schedule of one server, 0 -> 1 -> ... -> T-1. Its residual network has no cycle, so one pass
  /// from the back gives the duals: left[x] = min(0, min over t of d(x,t) - right[t]).
  void serve_all_by_server_0() {
    for (std::size_t t = requests_.size(); t-- > 0;) {
      const std::size_t x = t == 0 ? 0 : k_ + t - 1;
      predecessor_[t] = x;
      successor_[x] = t;
      Distance left = 0;
      for_each_arc(x, t + 1, [&](std::size_t u, Distance d) { left = std::min(left, d - right_[u]); });
      left_[x] = left;
      right_[t] = metric_.distance(points_[x], requests_[t]) - left;
    }
  }

  void relax(std::size_t x, Distance base) {
    for_each_arc(x, arcs_.begin_of(x), [&](std::size_t t, Distance d) {
      const Distance distance = base + d - right_[t];
      if (distance >= nearest_[t]) return;
      nearest_[t] = distance;
      via_[t] = x;
      frontier_.lower(t, distance);
    });
  }

  /// Along the way back from `end`: each request takes the predecessor that the way came through.
  void hand_over(std::size_t server, std::size_t end) {
    successor_[predecessor_[end]] = kNone;
    std::size_t t = end;
    while (true) {
      const std::size_t x = via_[t];
      predecessor_[t] = x;
      const std::size_t released = std::exchange(successor_[x], t);
      if (x == server) return;
      t = released;
    }
  }

  const Metric& metric_;
  const Arcs& arcs_;
  std::size_t k_;
  std::span<const Point> requests_;
  std::vector<Point> points_;  // of predecessors
  std::vector<Distance> scratch_;
  std::vector<Distance> left_;
  std::vector<Distance> right_;
  std::vector<std::size_t> predecessor_;
  std::vector<std::size_t> successor_;
  // One Dijkstra run: reduced distance from the added server, and the predecessor it came through.
  std::vector<Distance> nearest_;
  std::vector<std::size_t> via_;
  std::vector<std::size_t> settled_;
  Frontier frontier_;
};

template <class Frontier>
Schedule solve(const Metric& metric, const Instance& instance, const Arcs& arcs) {
  Assignment<Frontier> assignment(metric, instance, arcs);
  for (std::size_t j = 1; j < instance.servers.size(); ++j) assignment.add_server(j);
  return assignment.schedule();
}

}  // namespace

Result<Optimum> optimum(const Metric& metric, const Instance& instance, Form form) {
  TS_TRY(check_instance(metric, instance));
  Optimum answer;
  answer.form = form;
  if (form == Form::kAuto) {
    const auto requests = static_cast<double>(instance.requests.size());
    const double arcs = Arcs(instance, Form::kTimeExpanded).count();
    answer.form = arcs <= requests * requests / 8 ? Form::kTimeExpanded : Form::kDense;
  }
  const Arcs arcs(instance, answer.form);
  answer.schedule = answer.form == Form::kDense ? solve<ScanFrontier>(metric, instance, arcs)
                                                : solve<HeapFrontier>(metric, instance, arcs);
  answer.cost = sum(server_costs(metric, instance, answer.schedule));
  return answer;
}

}  // namespace tessera::kserver
