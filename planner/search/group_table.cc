#include "planner/search/group_table.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "algos/base/require.h"

namespace tessera::planner {
namespace {

/// A composition as one number, in mixed radix.
class Keys {
 public:
  Keys(const std::vector<int>& units, int depth) {
    std::uint64_t weight = 1;
    for (const int count : units) {
      weights_.push_back(weight);
      const auto radix = static_cast<std::uint64_t>(std::min(count, depth)) + 1;
      TS_REQUIRE(weight <= std::numeric_limits<std::uint64_t>::max() / radix, units.size(), depth);
      weight *= radix;
    }
  }
  [[nodiscard]] std::uint64_t of(const std::vector<int>& units) const {
    std::uint64_t key = 0;
    for (std::size_t k = 0; k < units.size(); ++k) key += weights_[k] * static_cast<std::uint64_t>(units[k]);
    return key;
  }
  [[nodiscard]] std::uint64_t weight(std::size_t type) const { return weights_[type]; }

 private:
  std::vector<std::uint64_t> weights_;
};

template <class Visit>
void visit_compositions(const std::vector<int>& units, std::size_t type, int left, std::vector<int>& current,
                        const Visit& visit) {
  if (type == units.size()) {
    if (left == 0) visit();
    return;
  }
  const int most = std::min(units[type], left);
  for (int count = 0; count <= most; ++count) {
    current[type] = count;
    visit_compositions(units, type + 1, left - count, current, visit);
  }
  current[type] = 0;
}

/// V of all compositions for one beta.
class Kernel {
 public:
  Kernel(const PipelineProblem& problem, const std::vector<int>& units, int depth)
      : problem_(problem),
        layers_(problem.stages.layers()),
        depth_(depth),
        types_(units.size()),
        compositions_(compositions(units, depth)),
        width_(static_cast<std::size_t>(layers_) + 1) {
    const Keys keys(units, depth);
    std::unordered_map<std::uint64_t, int> places;
    places.reserve(compositions_.size());
    for (std::size_t i = 0; i < compositions_.size(); ++i) {
      const std::uint64_t key = keys.of(compositions_[i]);
      places.emplace(key, static_cast<int>(i));
      sizes_.push_back(std::accumulate(compositions_[i].begin(), compositions_[i].end(), 0));
      for (std::size_t k = 0; k < types_; ++k) {
        const bool has = compositions_[i][k] > 0 && sizes_.back() > 1;
        rest_.push_back(has ? places.at(key - keys.weight(k)) : -1);
      }
    }
    values_.assign(compositions_.size() * types_ * width_, kInfinite);
    covered_.assign(compositions_.size(), 0);
    joined_.assign(width_, kInfinite);
  }

  [[nodiscard]] std::size_t size() const { return compositions_.size(); }
  [[nodiscard]] std::size_t states() const { return values_.size(); }
  [[nodiscard]] const std::vector<int>& composition(std::size_t i) const { return compositions_[i]; }
  [[nodiscard]] int depth(std::size_t i) const { return sizes_[i]; }
  /// The least sum of composition i over all layers; infinite if beta is too small for it.
  [[nodiscard]] double sum(std::size_t i) const {
    double least = kInfinite;
    for (std::size_t k = 0; k < types_; ++k) least = std::min(least, value(i, k)[layers_]);
    return least;
  }

  /// needed(i): pipelines of composition i that cover fewer layers are of no use; more than all layers leaves
  /// the composition out, and must then do so for all that extend it.
  template <class Needed>
  void run(double beta, const Needed& needed) {
    for (std::size_t i = 0; i < compositions_.size(); ++i) {
      const int least = needed(i);
      covered_[i] = 0;
      if (least > layers_) continue;
      std::fill_n(value(i, 0), types_ * width_, kInfinite);
      for (std::size_t k = 0; k < types_; ++k) {
        if (compositions_[i][k] > 0) extend(i, k, beta, least);
      }
    }
  }

  /// The pipeline of composition i behind sum(i), for the beta of the last run.
  [[nodiscard]] std::vector<StageChoice> trace(std::size_t i, double beta) const {
    std::vector<StageChoice> stages;
    int covered = layers_;
    std::size_t type = 0;
    while (value(i, type)[covered] != sum(i)) ++type;
    double left = value(i, type)[covered];
    while (true) {
      const int begin = layers_ - covered;
      const Step step = step_before(i, type, covered, left, beta);
      stages.push_back({static_cast<int>(type), begin, step.layers});
      if (step.rest < 0) return stages;
      covered -= step.layers;
      i = static_cast<std::size_t>(step.rest);
      type = step.type;
      left = value(i, type)[covered];
    }
  }

 private:
  struct Step {
    int rest = -1;  // composition behind the stage; -1: none
    int layers = 0;
    std::size_t type = 0;  // that the rest begins with
  };
  [[nodiscard]] double* value(std::size_t i, std::size_t k) {
    return values_.data() + (i * types_ + k) * width_;
  }
  [[nodiscard]] const double* value(std::size_t i, std::size_t k) const {
    return values_.data() + (i * types_ + k) * width_;
  }
  [[nodiscard]] double seconds(std::size_t k, int r, int covered, int count) const {
    return problem_.stages.seconds(static_cast<int>(k), r, layers_ - covered, layers_ - covered + count);
  }

  void extend(std::size_t i, std::size_t k, double beta, int least) {
    const int r = sizes_[i];
    double* const to = value(i, k);
    if (r == 1) {
      for (int count = std::max(least, 1); count <= layers_; ++count) {
        const double u = seconds(k, 1, count, count);
        if (u > beta) continue;
        to[count] = u;
        covered_[i] = std::max(covered_[i], count);
      }
      return;
    }
    const auto rest = static_cast<std::size_t>(rest_[i * types_ + k]);
    const int most = covered_[rest];  // 0: no pipeline of the rest
    if (most == 0) return;
    for (int l = r - 1; l <= most; ++l) {
      double least = kInfinite;
      for (std::size_t f = 0; f < types_; ++f) {
        least = std::min(least, value(rest, f)[l] + problem_.round_trip_s[k][f]);
      }
      joined_[static_cast<std::size_t>(l)] = least;
    }
    const double* const from = joined_.data();
    // The stage that reaches the first layer has the embedding; what begins a group of full depth is one.
    for (int l = std::max(r - 1, 0); l <= std::min(most, layers_ - 1); ++l) {
      const double u = seconds(k, r, layers_, layers_ - l);
      if (u <= beta && from[l] + u < to[layers_]) to[layers_] = from[l] + u;
    }
    if (to[layers_] < kInfinite) covered_[i] = layers_;
    if (r == depth_) return;
    for (int count = 1; count + r - 1 < layers_; ++count) {
      const int first = std::max(r - 1, least - count);
      const int last = std::min(most, layers_ - 1 - count);
      if (first > last) continue;
      if (problem_.stages.alike()) {
        const double u = seconds(k, r, layers_ - 1, count);
        if (u > beta) continue;
        double* const shifted = to + count;
        for (int l = first; l <= last; ++l) {
          const double sum = from[l] + u;
          shifted[l] = sum < shifted[l] ? sum : shifted[l];
        }
      } else {
        bool any = false;
        for (int l = first; l <= last; ++l) {
          const double u = seconds(k, r, l + count, count);
          if (u > beta) continue;
          any = true;
          to[l + count] = std::min(to[l + count], from[l] + u);
        }
        if (!any) continue;
      }
      covered_[i] = std::max(covered_[i], last + count);
    }
  }

  /// The step that gave `left`: the sums are the same numbers in the same order, so they compare equal.
  [[nodiscard]] Step step_before(std::size_t i, std::size_t type, int covered, double left,
                                 double beta) const {
    const int r = sizes_[i];
    if (r == 1) return {-1, covered, 0};
    const int rest = rest_[i * types_ + type];
    for (int count = 1; count <= covered - (r - 1); ++count) {
      const double u = seconds(type, r, covered, count);
      if (u > beta) continue;
      for (std::size_t f = 0; f < types_; ++f) {
        const double sum =
            value(static_cast<std::size_t>(rest), f)[covered - count] + problem_.round_trip_s[type][f];
        if (sum + u == left) return {rest, count, f};
      }
    }
    TS_REQUIRE(false, i, type, covered, left, beta);
    return {};
  }

  const PipelineProblem& problem_;
  int layers_;
  int depth_;
  std::size_t types_;
  std::vector<std::vector<int>> compositions_;
  std::vector<int> sizes_;
  std::vector<int> rest_;  // by composition and type: without one unit of it; -1: none left, or none there
  std::size_t width_;
  std::vector<double> values_;  // [composition][front type][layers covered]
  std::vector<int> covered_;    // by composition: the most layers that any pipeline covers; 0: none
  std::vector<double> joined_;
};

/// The seconds that a slowest stage can have, rising.
std::vector<double> candidate_betas(const PipelineProblem& problem, int depth) {
  const StageTable& stages = problem.stages;
  std::vector<double> betas;
  for (int type = 0; type < problem.types(); ++type) {
    if (problem.units[static_cast<std::size_t>(type)] == 0) continue;
    for (int r = 1; r <= depth; ++r) {
      for (int begin = 0; begin < stages.layers(); ++begin) {
        if (stages.alike() && begin > 1) break;
        for (int end = begin + 1; end <= stages.layers(); ++end) {
          const double seconds = stages.seconds(type, r, begin, end);
          if (seconds < kInfinite) betas.push_back(seconds);
        }
      }
    }
    std::sort(betas.begin(), betas.end());
    betas.erase(std::unique(betas.begin(), betas.end()), betas.end());
  }
  return betas;
}

/// Adds a line with a larger `slowest` and a smaller `sum` than all before, keeping the lower hull in m.
void add_line(std::vector<GroupTable::Line>& lines, const GroupTable::Line& line) {
  while (lines.size() >= 2) {
    const GroupTable::Line& a = lines[lines.size() - 2];
    const GroupTable::Line& b = lines.back();
    // b is the least somewhere iff it lies below the chord from a to the added line.
    if ((a.sum - line.sum) * (b.slowest - a.slowest) < (a.sum - b.sum) * (line.slowest - a.slowest)) break;
    lines.pop_back();
  }
  lines.push_back(line);
}

}  // namespace

std::vector<std::vector<int>> compositions(const std::vector<int>& units, int depth) {
  std::vector<std::vector<int>> all;
  std::vector<int> current(units.size(), 0);
  for (int size = 1; size <= depth; ++size) {
    visit_compositions(units, 0, size, current, [&] { all.push_back(current); });
  }
  return all;
}

std::int64_t count_compositions(const std::vector<int>& units, int depth, std::int64_t limit) {
  // ways[s]: of s units of the types so far.
  std::vector<std::int64_t> ways(static_cast<std::size_t>(depth) + 1, 0);
  ways[0] = 1;
  for (const int count : units) {
    std::vector<std::int64_t> next(ways.size(), 0);
    for (int size = 0; size <= depth; ++size) {
      for (int taken = 0; taken <= std::min(count, size); ++taken) {
        next[static_cast<std::size_t>(size)] = std::min(
            limit, next[static_cast<std::size_t>(size)] + ways[static_cast<std::size_t>(size - taken)]);
      }
    }
    ways = std::move(next);
  }
  std::int64_t sum = -1;  // the empty composition
  for (const std::int64_t count : ways) sum = std::min(limit, sum + count);
  return sum;
}

std::int64_t GroupTable::Column::micro_batches(double theta, std::int64_t limit) const {
  std::int64_t most = 0;
  for (const Line& line : lines) {
    if (line.sum > theta) continue;
    // The largest m with sum + (m - 1) * slowest <= theta; the quotient may round either way.
    const double quotient = (theta - line.sum) / line.slowest;
    if (!(quotient < static_cast<double>(limit))) return limit;
    auto m = static_cast<std::int64_t>(quotient) + 1;
    while (m > 1 && line.sum + static_cast<double>(m - 1) * line.slowest > theta) --m;
    while (m < limit && line.sum + static_cast<double>(m) * line.slowest <= theta) ++m;
    most = std::max(most, std::min(m, limit));
  }
  return most;
}

const GroupTable::Line& GroupTable::Column::line(std::int64_t micro_batches) const {
  const auto further = static_cast<double>(micro_batches - 1);
  return *std::min_element(lines.begin(), lines.end(), [&](const Line& a, const Line& b) {
    return a.sum + further * a.slowest < b.sum + further * b.slowest;
  });
}

double GroupTable::Column::seconds(std::int64_t micro_batches) const {
  const Line& best = line(micro_batches);
  return best.sum + static_cast<double>(micro_batches - 1) * best.slowest;
}

GroupTable::GroupTable(const PipelineProblem& problem, double theta, const Cancelled& cancelled)
    : problem_(&problem) {
  const int layers = problem.stages.layers();
  TS_REQUIRE(layers < 1 << 16, layers);
  const int depth = std::min(problem.max_depth, layers);
  Kernel kernel(problem, problem.units, depth);
  states_ = kernel.states();

  // In theta seconds the units outside a group do at most (power of all - power of its units) * theta layers,
  // and a group at most 1 + (theta - sum) / beta micro-batches: with more power than `most` it is of no use.
  const std::vector<double> least = least_layer_seconds(problem);
  const double fastest = *std::min_element(least.begin(), least.end());
  double all_power = 0;
  std::vector<double> powers(kernel.size(), 0);
  for (std::size_t k = 0; k < least.size(); ++k) {
    if (!(least[k] < kInfinite)) continue;
    all_power += problem.units[k] / least[k];
    for (std::size_t i = 0; i < kernel.size(); ++i) powers[i] += kernel.composition(i)[k] / least[k];
  }
  const auto due = static_cast<double>(problem.micro_batches);
  const auto most_power = [&](double beta) {
    if (theta == kInfinite) return kInfinite;
    constexpr double kRounding = 1e-9;
    const double own = 1 + std::max(0.0, theta - layers * fastest) / beta;
    return all_power - (due * (1 - kRounding) - own) * layers / theta;
  };

  std::vector<std::vector<Line>> lines(kernel.size());
  for (const double beta : candidate_betas(problem, depth)) {
    if (beta > theta) break;
    if (cancelled && cancelled()) {
      cancelled_ = true;
      return;
    }
    // A stage covers at most beta * power layers, so what is still to come covers (most - power) * beta at
    // most.
    const double most = most_power(beta);
    const auto needed = [&](std::size_t i) {
      if (powers[i] > most) return layers + 1;
      const double rest = (most - powers[i]) * beta * (1 + 1e-9);
      return rest >= layers ? 0 : layers - static_cast<int>(rest);
    };
    kernel.run(beta, needed);
    for (std::size_t i = 0; i < kernel.size(); ++i) {
      double sum = powers[i] <= most ? kernel.sum(i) : kInfinite;
      if (sum == kInfinite) continue;
      sum = std::max(sum, problem.floor_of(kernel.depth(i))) + problem.tail_of(kernel.depth(i));
      if (sum > theta) continue;
      if (lines[i].empty() || sum < lines[i].back().sum) add_line(lines[i], {sum, beta});
    }
  }
  for (std::size_t i = 0; i < kernel.size(); ++i) {
    if (lines[i].empty()) continue;
    columns_.push_back({kernel.composition(i), kernel.depth(i), std::move(lines[i])});
  }
}

std::vector<StageChoice> GroupTable::stages(const Column& column, const Line& line) const {
  Kernel kernel(*problem_, column.units, column.depth);
  kernel.run(line.slowest, [](std::size_t) { return 0; });
  return kernel.trace(kernel.size() - 1, line.slowest);
}

std::optional<GroupChoice> group_of_all_units(const PipelineProblem& problem, std::int64_t micro_batches) {
  const int depth = std::accumulate(problem.units.begin(), problem.units.end(), 0);
  TS_REQUIRE(depth >= 1 && depth <= problem.max_depth, depth, problem.max_depth);
  Kernel kernel(problem, problem.units, depth);
  const std::size_t all = kernel.size() - 1;
  const std::vector<double> betas = candidate_betas(problem, depth);
  const auto sum_at = [&](std::size_t i) {
    kernel.run(betas[i], [](std::size_t) { return 0; });
    return kernel.sum(all);
  };
  std::size_t least = 0;
  for (std::size_t end = betas.size(); least < end;) {
    const std::size_t middle = least + (end - least) / 2;
    if (sum_at(middle) < kInfinite) {
      end = middle;
    } else {
      least = middle + 1;
    }
  }
  if (least == betas.size()) return std::nullopt;
  constexpr std::size_t kTries = 6;
  double best_s = kInfinite;
  std::size_t best = least;
  double further = 1;  // ratio of the next beta to the last one tried, at least: close ones say the same
  constexpr double kStep = 1.002;
  double last = 0;
  std::size_t tries = 0;
  for (std::size_t i = least; i < betas.size() && tries < kTries; ++i) {
    if (betas[i] < last * further) continue;
    further = kStep;
    last = betas[i];
    ++tries;
    const double drain = static_cast<double>(micro_batches - 1) * betas[i];
    if (drain >= best_s) break;
    const double seconds = drain + sum_at(i);
    if (seconds < best_s) {
      best_s = seconds;
      best = i;
    }
  }
  (void)sum_at(best);
  return GroupChoice{kernel.trace(all, betas[best]), micro_batches};
}

}  // namespace tessera::planner
