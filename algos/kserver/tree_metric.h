/// The points are the nodes of a tree; d(a,b) = length of the path between them. Racks under switches.
///
/// Besides its nodes a tree has places on its edges, where Double Coverage may leave a server:
///   TreePlace{below, up} lies `up` above node `below`, 0 <= up < length of the edge above it (root: 0).
/// Complexity   distance O(log n) by heavy paths (Sleator & Tarjan 1983), memory O(n).
/// Limits       edge lengths from 0; the diameter, not each edge alone, <= kMaxDistance.
#pragma once

#include <string>
#include <vector>

#include "algos/kserver/metric.h"

namespace tessera::kserver {

struct TreeEdge {
  Point a;
  Point b;
  Distance length = 1;
};

struct TreePlace {
  Point below;
  Distance up = 0;
  bool operator==(const TreePlace&) const = default;
};

class TreeMetric final : public Metric {
 public:
  /// n - 1 edges that connect points 0..n-1; no edges is the tree of one point.
  static Result<TreeMetric> make(std::span<const TreeEdge> edges, const std::string& source = "tree");

  [[nodiscard]] Distance distance(Point a, Point b) const override {
    return distance(TreePlace{a, 0}, TreePlace{b, 0});
  }
  [[nodiscard]] std::span<const Distance> distances_from(Point from,
                                                         std::span<Distance> scratch) const override;

  [[nodiscard]] Distance distance(TreePlace a, TreePlace b) const;
  /// The place `by` along the path from `from` to node `to`; 0 <= by <= distance. O(edges walked).
  [[nodiscard]] TreePlace toward(TreePlace from, Point to, Distance by) const;

 private:
  TreeMetric(std::int32_t points, Distance diameter) : Metric(points, diameter) {}
  [[nodiscard]] Point common_ancestor(Point a, Point b) const;
  [[nodiscard]] Distance depth_of(TreePlace place) const;
  [[nodiscard]] TreePlace climb(TreePlace from, Distance by) const;

  // By point. The root is point 0; orders_ grows from every node to its children.
  std::vector<std::int32_t> parents_;
  std::vector<std::int32_t> orders_;
  std::vector<std::int32_t> heads_;     // top node of the heavy path through the point
  std::vector<Distance> depths_;        // distance from the root
  std::vector<std::int32_t> by_order_;  // points in the order of orders_
};

}  // namespace tessera::kserver
