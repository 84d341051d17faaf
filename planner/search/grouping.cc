#include "planner/search/grouping.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera::planner {
namespace {

constexpr double kTolerance = 1e-10;  // relative, between certified and found

/// A packing that is enough, with the micro-batches each of its columns can do.
struct Found {
  std::vector<int> columns;
  std::vector<std::int64_t> micro_batches;
};

/// What a threshold allows.
struct Verdict {
  bool possible = false;  // not refuted
  std::optional<Found> found;
};

class ThresholdSearch {
 public:
  ThresholdSearch(const PipelineProblem& problem, const GroupingOptions& options, const GroupTable& table,
                  const Cancelled& cancelled, Grouping& answer)
      : problem_(problem), options_(options), cancelled_(cancelled), answer_(answer) {
    for (const GroupTable::Column& column : table.columns()) {
      if (column.depth >= options.least_depth) columns_.push_back(column);
    }
    packer_.emplace(columns_, problem.units, count());
    answer_.exact = packer_->exact();
    answer_.table_states = std::max(answer_.table_states, table.states());
  }

  [[nodiscard]] Verdict at(double theta) {
    return options_.mode == MicroBatchMode::kUnequal ? unequal_at(theta) : equal_at(theta);
  }

  /// The least theta in (low, high] that is not refuted, and the least found to be enough; `enough` is one.
  void bisect(double low, double high, Found enough, const GroupTable& table) {
    double refuted = low;
    double possible = high;
    double found_at = high;
    while (possible - refuted > kTolerance * possible && !stop()) {
      const double middle = refuted + (possible - refuted) / 2;
      Verdict verdict = at(middle);
      if (!verdict.possible) {
        refuted = middle;
        continue;
      }
      possible = middle;
      if (verdict.found) {
        found_at = middle;
        enough = std::move(*verdict.found);
      }
    }
    answer_.lower_bound = refuted;
    // A heuristic packer leaves a distance between what is not refuted and what is found.
    double unknown = possible;
    constexpr double kFine = 1e-4;
    while (found_at - unknown > kFine * found_at && !stop()) {
      const double middle = unknown + (found_at - unknown) / 2;
      Verdict verdict = at(middle);
      if (verdict.found) {
        found_at = middle;
        enough = std::move(*verdict.found);
      } else {
        unknown = middle;
      }
    }
    finish(enough, table);
  }

 private:
  [[nodiscard]] PackCount count() const {
    if (options_.mode == MicroBatchMode::kUnequal || options_.count.most > 0) return options_.count;
    return {};
  }
  [[nodiscard]] bool stop() {
    answer_.cancelled = answer_.cancelled || (cancelled_ && cancelled_());
    return answer_.cancelled;
  }

  Verdict unequal_at(double theta) {
    values_.clear();
    for (const auto& column : columns_)
      values_.push_back(column.micro_batches(theta, problem_.micro_batches));
    ++answer_.thresholds;
    Packing packing = packer_->pack(values_);
    Verdict verdict;
    verdict.possible = packing.bound >= problem_.micro_batches;
    if (packing.value >= problem_.micro_batches) {
      Found found;
      for (const int column : packing.columns) {
        found.micro_batches.push_back(values_[static_cast<std::size_t>(column)]);
      }
      found.columns = std::move(packing.columns);
      verdict.found = std::move(found);
    }
    return verdict;
  }

  Verdict equal_at(double theta) {
    Verdict verdict;
    const std::int64_t m = problem_.micro_batches;
    const std::int64_t units = std::accumulate(problem_.units.begin(), problem_.units.end(), std::int64_t{0});
    for (std::int64_t groups = 1; groups <= std::min(units, m) && !verdict.found; ++groups) {
      if (m % groups != 0 || groups < options_.count.least) continue;
      if (options_.count.most > 0 && groups > options_.count.most) continue;
      values_.clear();
      for (const auto& column : columns_) {
        values_.push_back(column.micro_batches(theta, m / groups) == m / groups ? 1 : 0);
      }
      ++answer_.thresholds;
      Packing packing = packer_->pack(values_);
      verdict.possible = verdict.possible || packing.bound >= groups;
      if (packing.value < groups) continue;
      packing.columns.resize(static_cast<std::size_t>(groups));
      verdict.found = Found{packing.columns, std::vector<std::int64_t>(packing.columns.size(), m / groups)};
    }
    return verdict;
  }

  /// Takes micro-batches from the slowest group until their sum is right: optimal for min-max of
  /// non-decreasing functions. Every group keeps one as long as others can give.
  void finish(const Found& found, const GroupTable& table) {
    std::vector<std::int64_t> share = found.micro_batches;
    std::int64_t surplus =
        std::accumulate(share.begin(), share.end(), std::int64_t{0}) - problem_.micro_batches;
    const auto seconds = [&](std::size_t i) {
      return columns_[static_cast<std::size_t>(found.columns[i])].seconds(share[i]);
    };
    int groups = static_cast<int>(share.size());
    for (; surplus > 0; --surplus) {
      const std::int64_t least = groups > options_.count.least ? 1 : 2;
      std::size_t slowest = share.size();
      for (std::size_t i = 0; i < share.size(); ++i) {
        if (share[i] >= least && (slowest == share.size() || seconds(i) > seconds(slowest))) slowest = i;
      }
      if (--share[slowest] == 0) --groups;
    }
    answer_.groups.clear();
    answer_.seconds = 0;
    for (std::size_t i = 0; i < share.size(); ++i) {
      if (share[i] == 0) continue;
      const GroupTable::Column& column = columns_[static_cast<std::size_t>(found.columns[i])];
      answer_.groups.push_back({table.stages(column, column.line(share[i])), share[i]});
      answer_.seconds = std::max(answer_.seconds, column.seconds(share[i]));
    }
  }

  const PipelineProblem& problem_;
  const GroupingOptions& options_;
  const Cancelled& cancelled_;
  Grouping& answer_;
  std::vector<GroupTable::Column> columns_;
  std::optional<Packer> packer_;
  std::vector<std::int64_t> values_;
};

}  // namespace

Grouping solve_grouping(const PipelineProblem& problem, const GroupingOptions& options,
                        const Cancelled& cancelled) {
  Grouping answer;
  answer.lower_bound = options.count.least > problem.micro_batches ? kInfinite : work_bound(problem);
  if (answer.lower_bound == kInfinite) return answer;
  // Tables below a threshold are small; the bound is often close. The last one prunes nothing.
  for (const double factor : {1.08, 1.25, 1.6, 3.0, 10.0, kInfinite}) {
    const double theta = std::min(factor * work_bound(problem), options.give_up_s);
    if (theta < answer.lower_bound) return answer;
    const GroupTable table(problem, theta, cancelled);
    if (table.cancelled()) {
      answer.cancelled = true;
      return answer;
    }
    ThresholdSearch search(problem, options, table, cancelled, answer);
    double high = theta;
    if (theta == kInfinite) {
      // Every column does all micro-batches in this time; if no packing has one, none ever will.
      high = 0;
      for (const auto& column : table.columns()) {
        if (column.depth >= options.least_depth) high = std::max(high, column.seconds(problem.micro_batches));
      }
    }
    Verdict verdict = search.at(high);
    if (verdict.found) {
      search.bisect(answer.lower_bound, high, std::move(*verdict.found), table);
      return answer;
    }
    if (!verdict.possible) answer.lower_bound = theta;
    if (theta == options.give_up_s) return answer;
  }
  return answer;
}

}  // namespace tessera::planner
