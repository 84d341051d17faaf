#include "algos/kserver/tree_metric.h"

#include <algorithm>
#include <numeric>

namespace tessera::kserver {
namespace {

std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
std::size_t at(Point p) { return static_cast<std::size_t>(p.value); }

struct HalfEdge {
  std::int32_t to;
  Distance length;
};

/// Neighbours of point p: half_edges[first[p] .. first[p + 1]).
struct Adjacency {
  std::vector<std::size_t> first;
  std::vector<HalfEdge> half_edges;
};

Adjacency adjacency_of(std::span<const TreeEdge> edges, std::size_t points) {
  Adjacency adjacency{std::vector<std::size_t>(points + 1), std::vector<HalfEdge>(2 * edges.size())};
  for (const TreeEdge& edge : edges) {
    ++adjacency.first[at(edge.a) + 1];
    ++adjacency.first[at(edge.b) + 1];
  }
  std::partial_sum(adjacency.first.begin(), adjacency.first.end(), adjacency.first.begin());
  std::vector<std::size_t> next(adjacency.first.begin(), adjacency.first.end() - 1);
  for (const TreeEdge& edge : edges) {
    adjacency.half_edges[next[at(edge.a)]++] = {edge.b.value, edge.length};
    adjacency.half_edges[next[at(edge.b)]++] = {edge.a.value, edge.length};
  }
  return adjacency;
}

Status check_edges(std::span<const TreeEdge> edges, std::int32_t points, const std::string& source) {
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const std::string field = "edges[" + std::to_string(i) + "]";
    for (const Point end : {edges[i].a, edges[i].b}) {
      if (end.value < 0 || end.value >= points) {
        return bad_input({source, field, "point " + std::to_string(end.value),
                          "points 0 to " + std::to_string(points - 1) + ", one more than there are edges",
                          "number the nodes from 0 and connect each of them"});
      }
    }
    if (edges[i].length < 0 || edges[i].length > kMaxDistance) {
      return internal::bad_distance(std::to_string(edges[i].length), field, source);
    }
  }
  return {};
}

}  // namespace

Result<TreeMetric> TreeMetric::make(std::span<const TreeEdge> edges, const std::string& source) {
  TS_TRY(internal::check_point_count(edges.size() + 1, "edges", source));
  const auto points = static_cast<std::int32_t>(edges.size() + 1);
  TS_TRY(check_edges(edges, points, source));
  const Adjacency adjacency = adjacency_of(edges, at(points));

  std::vector<std::int32_t> parents(at(points), -1);
  std::vector<std::int32_t> orders(at(points), -1);
  std::vector<Distance> depths(at(points), 0);
  std::vector<std::int32_t> by_order = {0};
  orders[0] = 0;
  for (std::size_t next = 0; next < by_order.size(); ++next) {
    const std::int32_t p = by_order[next];
    for (std::size_t i = adjacency.first[at(p)]; i < adjacency.first[at(p) + 1]; ++i) {
      const auto [child, length] = adjacency.half_edges[i];
      if (orders[at(child)] >= 0) continue;
      orders[at(child)] = static_cast<std::int32_t>(by_order.size());
      parents[at(child)] = p;
      depths[at(child)] = depths[at(p)] + length;
      if (depths[at(child)] > kMaxDistance) {
        return internal::bad_distance("a path of length " + std::to_string(depths[at(child)]), "edges",
                                      source);
      }
      by_order.push_back(child);
    }
  }
  if (by_order.size() < at(points)) {
    const auto apart = std::find(orders.begin(), orders.end(), -1) - orders.begin();
    return bad_input({source, "edges", "point " + std::to_string(apart) + " is not connected to point 0",
                      "a tree: one piece, no cycles",
                      "remove the edge that closes a cycle and connect the point"});
  }

  // From the leaves up: subtree sizes choose the heavy child; the two deepest branches bound the diameter.
  std::vector<std::int32_t> sizes(at(points), 1);
  std::vector<std::int32_t> heavy(at(points), -1);
  std::vector<Distance> heights(at(points), 0);  // to the deepest node below
  Distance diameter = 0;
  for (std::size_t i = at(points); i-- > 1;) {
    const std::int32_t p = by_order[i];
    const std::int32_t up = parents[at(p)];
    sizes[at(up)] += sizes[at(p)];
    if (heavy[at(up)] < 0 || sizes[at(heavy[at(up)])] < sizes[at(p)]) heavy[at(up)] = p;
    const Distance reach = heights[at(p)] + depths[at(p)] - depths[at(up)];
    diameter = std::max(diameter, heights[at(up)] + reach);
    heights[at(up)] = std::max(heights[at(up)], reach);
  }
  if (diameter > kMaxDistance) {
    return internal::bad_distance("a path of length " + std::to_string(diameter), "edges", source);
  }
  TreeMetric tree(points, diameter);
  tree.heads_.resize(at(points));
  for (const std::int32_t p : by_order) {
    const std::int32_t up = parents[at(p)];
    tree.heads_[at(p)] = up >= 0 && heavy[at(up)] == p ? tree.heads_[at(up)] : p;
  }
  tree.parents_ = std::move(parents);
  tree.orders_ = std::move(orders);
  tree.depths_ = std::move(depths);
  tree.by_order_ = std::move(by_order);
  return tree;
}

Point TreeMetric::common_ancestor(Point a, Point b) const {
  std::int32_t x = a.value;
  std::int32_t y = b.value;
  // The head that comes later in the order is no ancestor of the other point, so its path can be left.
  while (heads_[at(x)] != heads_[at(y)]) {
    if (orders_[at(heads_[at(x)])] > orders_[at(heads_[at(y)])]) {
      x = parents_[at(heads_[at(x)])];
    } else {
      y = parents_[at(heads_[at(y)])];
    }
  }
  return Point(orders_[at(x)] < orders_[at(y)] ? x : y);
}

Distance TreeMetric::depth_of(TreePlace place) const { return depths_[at(place.below)] - place.up; }

Distance TreeMetric::distance(TreePlace a, TreePlace b) const {
  const Point meet = common_ancestor(a.below, b.below);
  const Distance depth_a = depth_of(a);
  const Distance depth_b = depth_of(b);
  // When one place is above the other, so is its node; then both are on one path down from the root.
  if (meet == a.below || meet == b.below) return depth_a > depth_b ? depth_a - depth_b : depth_b - depth_a;
  return depth_a + depth_b - 2 * depths_[at(meet)];
}

TreePlace TreeMetric::climb(TreePlace from, Distance by) const {
  std::int32_t p = from.below.value;
  Distance up = from.up + by;
  while (p != 0) {
    const std::int32_t parent = parents_[at(p)];
    const Distance edge = depths_[at(p)] - depths_[at(parent)];
    if (up < edge) break;
    up -= edge;
    p = parent;
  }
  return {Point(p), up};
}

TreePlace TreeMetric::toward(TreePlace from, Point to, Distance by) const {
  const Point meet = common_ancestor(from.below, to);
  const Distance rise = meet == from.below ? 0 : depth_of(from) - depths_[at(meet)];
  if (by <= rise) return climb(from, by);
  return climb({to, 0}, distance(from, TreePlace{to, 0}) - by);
}

std::span<const Distance> TreeMetric::distances_from(Point from, std::span<Distance> scratch) const {
  // Up the path to the root first; then every other point is beyond its parent.
  std::fill(scratch.begin(), scratch.end(), Distance{-1});
  for (std::int32_t p = from.value; p >= 0; p = parents_[at(p)]) {
    scratch[at(p)] = depths_[at(from)] - depths_[at(p)];
  }
  for (const std::int32_t p : by_order_) {
    if (scratch[at(p)] >= 0) continue;
    const std::int32_t parent = parents_[at(p)];
    scratch[at(p)] = scratch[at(parent)] + depths_[at(p)] - depths_[at(parent)];
  }
  return scratch;
}

}  // namespace tessera::kserver
