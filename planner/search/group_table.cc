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

void GroupTable::insert(std::vector<Entry>& list, const Entry& entry, bool complete) const {
  // Sorted by `slowest`; what may dominate stands before, what may be dominated behind.
  std::size_t at = list.size();
  while (at > 0 && list[at - 1].slowest > entry.slowest) --at;
  const auto handicap = [&](const Entry& better, const Entry& worse) {
    return complete ? 0.0
                    : dearer_[static_cast<std::size_t>(better.type)][static_cast<std::size_t>(worse.type)];
  };
  for (std::size_t i = at; i-- > 0;) {
    if (list[i].sum + handicap(list[i], entry) <= entry.sum) return;
  }
  std::size_t kept = at;
  for (std::size_t i = at; i < list.size(); ++i) {
    if (entry.sum + handicap(entry, list[i]) > list[i].sum) list[kept++] = list[i];
  }
  list.resize(kept);
  list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), entry);
}

GroupTable::GroupTable(const PipelineProblem& problem, double theta, const Cancelled& cancelled)
    : layers_(problem.stages.layers()) {
  TS_REQUIRE(layers_ < 1 << 16, layers_);
  const auto types = static_cast<std::size_t>(problem.types());
  const StageTable& table = problem.stages;
  const int depth = std::min(problem.max_depth, layers_);
  dearer_.assign(types, std::vector<double>(types, 0));
  for (std::size_t a = 0; a < types; ++a) {
    for (std::size_t b = 0; b < types; ++b) {
      for (std::size_t before = 0; before < types; ++before) {
        dearer_[a][b] =
            std::max(dearer_[a][b], problem.round_trip_s[before][a] - problem.round_trip_s[before][b]);
      }
    }
  }
  // In theta seconds the units outside a group do at most (power of all - power of its units) * theta layers.
  const std::vector<double> least = least_layer_seconds(problem);
  std::vector<double> power(types, 0);
  double all_power = 0;
  for (std::size_t k = 0; k < types; ++k) {
    if (least[k] < kInfinite) power[k] = 1 / least[k];
    all_power += power[k] * problem.units[k];
  }
  const double due = static_cast<double>(problem.micro_batches);
  const auto useless = [&](double own_power, double sum, double slowest) {
    if (theta == kInfinite) return false;
    if (sum > theta) return true;
    const double others = theta * (all_power - own_power) / layers_;
    constexpr double kRounding = 1e-9;
    return 1 + (theta - sum) / slowest < (due - others) * (1 - kRounding);
  };

  const std::vector<std::vector<int>> all = compositions(problem.units, depth);
  const Keys keys(problem.units, depth);
  std::unordered_map<std::uint64_t, std::int32_t> index;  // composition -> first of its spans
  index.reserve(all.size() + 1);
  std::vector<Span> spans(static_cast<std::size_t>(layers_ + 1) * (all.size() + 1));
  const auto span_of = [&](std::int32_t composition, int covered) -> Span& {
    return spans[static_cast<std::size_t>(composition) * static_cast<std::size_t>(layers_ + 1) +
                 static_cast<std::size_t>(covered)];
  };
  index.emplace(0, 0);
  pool_.push_back({});  // the empty pipeline behind the last stage
  span_of(0, 0) = {0, 1};

  std::vector<Entry> list;
  std::int32_t next = 1;
  for (const std::vector<int>& units : all) {
    if (cancelled && cancelled()) {
      cancelled_ = true;
      return;
    }
    const int r = std::accumulate(units.begin(), units.end(), 0);
    double own_power = 0;
    for (std::size_t k = 0; k < types; ++k) own_power += power[k] * units[k];
    const std::uint64_t key = keys.of(units);
    const std::int32_t composition = next++;
    bool any = false;
    for (int covered = r; covered <= layers_; ++covered) {
      const bool complete = covered == layers_;
      if (!complete && r == depth) continue;
      list.clear();
      for (std::size_t k = 0; k < types; ++k) {
        if (units[k] == 0) continue;
        const auto source = index.find(key - keys.weight(k));
        if (source == index.end()) continue;
        const int begin = layers_ - covered;
        for (int count = 1; count <= covered - (r - 1); ++count) {
          const Span rest = span_of(source->second, covered - count);
          if (rest.begin == rest.end) continue;
          const double seconds = table.seconds(static_cast<int>(k), r, begin, begin + count);
          if (!(seconds < kInfinite)) continue;
          for (std::int32_t i = rest.begin; i < rest.end; ++i) {
            const Entry& after = pool_[static_cast<std::size_t>(i)];
            Entry entry;
            entry.sum = after.sum + seconds;
            if (r > 1) entry.sum += problem.round_trip_s[k][static_cast<std::size_t>(after.type)];
            entry.slowest = std::max(after.slowest, seconds);
            if (useless(own_power, entry.sum, entry.slowest)) continue;
            entry.after = i;
            entry.type = static_cast<std::uint16_t>(k);
            entry.layers = static_cast<std::uint16_t>(count);
            insert(list, entry, complete);
          }
        }
      }
      if (list.empty()) continue;
      any = true;
      const auto first = static_cast<std::int32_t>(pool_.size());
      pool_.insert(pool_.end(), list.begin(), list.end());
      span_of(composition, covered) = {first, static_cast<std::int32_t>(pool_.size())};
    }
    if (!any) continue;
    index.emplace(key, composition);
    const Span done = span_of(composition, layers_);
    if (done.begin == done.end) continue;
    Column column;
    column.units = units;
    column.depth = r;
    // Lower hull of lines in m: `slowest` rises and `sum` falls along the list.
    for (std::int32_t i = done.begin; i < done.end; ++i) {
      const Entry& entry = pool_[static_cast<std::size_t>(i)];
      const Line line{entry.sum, entry.slowest, i};
      while (column.lines.size() >= 2) {
        const Line& a = column.lines[column.lines.size() - 2];
        const Line& b = column.lines.back();
        // b is never the least when the crossing of a and line lies before that of a and b.
        if ((a.sum - line.sum) * (b.slowest - a.slowest) < (a.sum - b.sum) * (line.slowest - a.slowest))
          break;
        column.lines.pop_back();
      }
      column.lines.push_back(line);
    }
    columns_.push_back(std::move(column));
  }
}

std::vector<StageChoice> GroupTable::stages(const Line& line) const {
  std::vector<StageChoice> found;
  int first = 0;
  for (std::int32_t at = line.entry; at > 0; at = pool_[static_cast<std::size_t>(at)].after) {
    const Entry& entry = pool_[static_cast<std::size_t>(at)];
    found.push_back({entry.type, first, entry.layers});
    first += entry.layers;
  }
  return found;
}

}  // namespace tessera::planner
