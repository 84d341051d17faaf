/// Double Coverage on a line, with labels that never cross. Chrobak, Karloff, Payne & Vishwanathan 1991.
///
/// A request between two roles draws the nearest on each side, equally far, until one arrives; a request
/// outside draws the end role. Of roles on one place the leftmost label goes left and the rightmost right,
/// so the order of the labels is that of the places, for ever.
///
/// Identity  in the order of the labels, c[i+1] - c[i] = D[i] + D[i+1], D the net displacement to the right.
///           Hence costs differ by at most 2 (k-1) diameter: (1, O(k diameter))-fair. Exact, in integers.
///           "The lowest number moves" instead would let labels cross, and one of two roles pay 3/4 for ever.
/// Cost      k-competitive; O(log k) per request.
#pragma once

#include "algos/kserver/line_metric.h"
#include "algos/kserver/online.h"

namespace tessera::kserver {

class DoubleCoverageLine final : public Online {
 public:
  DoubleCoverageLine(const LineMetric& metric, const std::vector<Point>& starts);

  [[nodiscard]] Distance between(Role a, Role b) const override;
  /// Coordinate on the line.
  [[nodiscard]] Distance position(Role role) const;
  /// Roles from left to right; fixed at the start.
  [[nodiscard]] std::span<const Role> left_to_right() const { return order_; }

 private:
  Role move_to(Point request) override;
  void shift(std::size_t label, Distance by);

  const LineMetric& metric_;
  std::vector<Role> order_;          // label -> role
  std::vector<std::size_t> labels_;  // role -> label
  std::vector<Distance> positions_;  // by label: never falls
};

}  // namespace tessera::kserver
