/// The work-function algorithm: go where the whole past would have gone. Koutsoupias & Papadimitriou 1995.
///
///   w_t(C) = cost of serving requests 1..t from the starts and ending in configuration C.
///   On request r with roles on C it moves the role x in C that minimises  w(C - x + r) + d(x, r),
///   which is the x that the cheapest way of ending in C goes back to after r. Which of several such x is not
///   specified.
///
/// Kept as an optimal assignment of predecessors (starts, past requests) to successors (later requests, the
/// roles' places), in the time-expanded form of optimum.h. A request adds one predecessor and one successor,
/// and the mover's place changes: two shortest augmenting paths. Cost      (2k-1)-competitive on any metric.
/// The past is kept: O(k + t) memory, and at worst
///           O((k + n) t log t) time for request t, n the number of different points requested. For long runs
///           on lines and trees Double Coverage is the cheaper choice.
/// Source    the flow form is due to Rudec, Baumgartner & Manger 2013.
#pragma once

#include "algos/kserver/online.h"

namespace tessera::kserver {

class WorkFunction final : public OnPoints {
 public:
  WorkFunction(const Metric& metric, const std::vector<Point>& starts);

  /// w_t of the places where the roles stand.
  [[nodiscard]] Distance work() const;

 private:
  // Predecessors: 0..k-1 the starts, k + t request t. Successors: 0..k-1 the roles' places, k + t request t.
  // Each may precede every place, and the requests behind it up to the next one of its own point.
  Role move_to(Point request) override;
  void add_request(Point request);
  /// Role `role` stands on `place`; nobody goes there yet.
  void set_place(std::size_t role, Point place);
  [[nodiscard]] Distance distance(std::size_t x, std::size_t y) const;
  void assign(std::size_t free_x, std::size_t free_y);

  std::size_t k_;
  std::vector<Point> from_;     // of predecessors
  std::vector<Point> to_;       // of successors
  std::vector<Distance> left_;  // d(x,y) >= left[x] + right[y], equal where x precedes y
  std::vector<Distance> right_;
  std::vector<std::size_t> predecessor_;  // of a successor
  std::vector<std::size_t> end_;          // of a predecessor: one past the last request it may precede
  std::vector<std::size_t> open_;         // predecessors that may precede the next request
};

}  // namespace tessera::kserver
