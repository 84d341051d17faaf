/// The grouping problem solved by trying everything, from its definition alone.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

#include "planner/search/pipeline_problem.h"

namespace tessera::planner::testing {

/// All compositions of `layers` into `parts` positive ranges.
inline void for_each_cut(int layers, int parts, std::vector<int>& sizes,
                         const std::function<void(const std::vector<int>&)>& visit) {
  if (parts == 1) {
    sizes.push_back(layers);
    visit(sizes);
    sizes.pop_back();
    return;
  }
  for (int first = 1; first <= layers - (parts - 1); ++first) {
    sizes.push_back(first);
    for_each_cut(layers - first, parts - 1, sizes, visit);
    sizes.pop_back();
  }
}

/// The least seconds of one group that uses exactly these units, by micro-batches 1 .. most: all orders, all
/// cuts.
inline std::vector<double> best_group_seconds(const PipelineProblem& problem, const std::vector<int>& units,
                                              std::int64_t most) {
  std::vector<double> best(static_cast<std::size_t>(most) + 1, kInfinite);
  std::vector<int> order;
  for (int type = 0; type < problem.types(); ++type) {
    order.insert(order.end(), static_cast<std::size_t>(units[static_cast<std::size_t>(type)]), type);
  }
  if (order.empty() ||
      static_cast<int>(order.size()) > std::min(problem.max_depth, problem.stages.layers())) {
    return best;
  }
  do {
    std::vector<int> sizes;
    for_each_cut(problem.stages.layers(), static_cast<int>(order.size()), sizes,
                 [&](const std::vector<int>& cut) {
                   GroupChoice group;
                   int first = 0;
                   for (std::size_t s = 0; s < cut.size(); ++s) {
                     group.stages.push_back({order[s], first, cut[s]});
                     first += cut[s];
                   }
                   for (std::int64_t m = 1; m <= most; ++m) {
                     group.micro_batches = m;
                     double& least = best[static_cast<std::size_t>(m)];
                     least = std::min(least, group_seconds(problem, group));
                   }
                 });
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

/// Everything that can be computed once for all groupings of a problem.
class BruteForce {
 public:
  explicit BruteForce(const PipelineProblem& problem) : problem_(problem) {
    std::vector<int> units(problem.units.size(), 0);
    while (true) {
      std::size_t k = 0;
      while (k < units.size() && units[k] == problem.units[k]) units[k++] = 0;
      if (k == units.size()) break;
      ++units[k];
      seconds_[units] = best_group_seconds(problem, units, problem.micro_batches);
    }
  }
  /// The least iteration time over all multisets of groups and all allocations; with equal micro-batches if
  /// `equal`; with a number of groups in [least, most].
  [[nodiscard]] double best(bool equal, int least = 0, int most = 1 << 20) const {
    double found = kInfinite;
    std::vector<const std::vector<double>*> groups;
    visit(problem_.units, seconds_.begin(), groups, [&] {
      const auto count = static_cast<std::int64_t>(groups.size());
      if (count < std::max(least, 1) || count > most || count > problem_.micro_batches) return;
      if (equal && problem_.micro_batches % count != 0) return;
      found = std::min(found, equal ? equal_seconds(groups) : allocate(groups, 0, problem_.micro_batches, 0));
    });
    return found;
  }

 private:
  using Seconds = std::map<std::vector<int>, std::vector<double>>;
  template <class Visit>
  void visit(std::vector<int> left, Seconds::const_iterator from,
             std::vector<const std::vector<double>*>& groups, const Visit& each) const {
    if (!groups.empty()) each();
    for (auto at = from; at != seconds_.end(); ++at) {  // multisets: never back to an earlier composition
      bool fits = true;
      for (std::size_t k = 0; k < left.size(); ++k) fits = fits && at->first[k] <= left[k];
      if (!fits || at->second[1] == kInfinite) continue;
      std::vector<int> rest = left;
      for (std::size_t k = 0; k < left.size(); ++k) rest[k] -= at->first[k];
      groups.push_back(&at->second);
      visit(rest, at, groups, each);
      groups.pop_back();
    }
  }
  [[nodiscard]] double equal_seconds(const std::vector<const std::vector<double>*>& groups) const {
    const auto each =
        static_cast<std::size_t>(problem_.micro_batches / static_cast<std::int64_t>(groups.size()));
    double slowest = 0;
    for (const auto* group : groups) slowest = std::max(slowest, (*group)[each]);
    return slowest;
  }
  /// Every way to share `left` micro-batches among groups i .. end, each at least one.
  [[nodiscard]] double allocate(const std::vector<const std::vector<double>*>& groups, std::size_t i,
                                std::int64_t left, double slowest) const {
    const auto others = static_cast<std::int64_t>(groups.size() - i) - 1;
    if (others == 0) return std::max(slowest, (*groups[i])[static_cast<std::size_t>(left)]);
    double best = kInfinite;
    for (std::int64_t m = 1; m <= left - others; ++m) {
      best = std::min(best, allocate(groups, i + 1, left - m,
                                     std::max(slowest, (*groups[i])[static_cast<std::size_t>(m)])));
    }
    return best;
  }

  const PipelineProblem& problem_;
  Seconds seconds_;
};

}  // namespace tessera::planner::testing
