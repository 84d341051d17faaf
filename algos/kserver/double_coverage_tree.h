/// Double Coverage on a tree. Chrobak & Larmore 1991.
///
/// Every role that sees the request, that is with no other role on its path there, moves toward it at the
/// same speed until one arrives; a role that gets behind another stops. Of roles on one place the lowest
/// number moves. Roles may stop on edges. With whole edge lengths every stop is at a whole distance: all is
/// exact.
///
/// Identity  2k * time = (k+1) * total + (final - initial sum of pair distances), where `time` is the
/// distance
///           during which anyone moved: when j roles move x, the pair sum changes by -x (j(k+1) - 2k).
///           A role pays at most `time`, hence
///             c_i <= (k+1)/2 * total/k + (k-1)/4 * diameter: ((k+1)/2, O(k diameter))-fair on every tree,
///           and this is tight: one role can pay (k+1)/(2k) of everything (docs/kserver.md, with witnesses).
///           Theta(k), not more: no tree makes one role pay everything.
/// Cost      k-competitive; O(k^2 log n + k * edges walked) per request.
#pragma once

#include "algos/kserver/online.h"
#include "algos/kserver/tree_metric.h"

namespace tessera::kserver {

class DoubleCoverageTree final : public Online {
 public:
  DoubleCoverageTree(const TreeMetric& metric, const std::vector<Point>& starts);

  [[nodiscard]] Distance between(Role a, Role b) const override;
  [[nodiscard]] TreePlace place_of(Role role) const { return places_[static_cast<std::size_t>(role.value)]; }
  /// The distance during which anyone moved.
  [[nodiscard]] Distance time() const { return time_; }
  /// Sum of the distances of all pairs of roles, O(k^2 log n).
  [[nodiscard]] Distance pair_sum() const;

 private:
  Role move_to(Point request) override;

  const TreeMetric& metric_;
  std::vector<TreePlace> places_;
  Distance time_ = 0;
  // Of one move_to, by role: distance to the request, distance moved, and the roles, nearest first.
  std::vector<Distance> ahead_;
  std::vector<Distance> moved_;
  std::vector<std::size_t> nearest_first_;
};

}  // namespace tessera::kserver
