#include "planner/search/price_bound.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "planner/search/relaxation.h"

namespace tessera::planner {
namespace {

/// Slowest stages in [least, most] seconds are treated alike.
struct Period {
  double least = 0;
  double most = 0;
};

/// A pipeline, as far as its worth and its price depend on it.
struct Pipeline {
  std::vector<int> units;
  int depth = 0;
  double sum = 0;
  double period = 0;

  [[nodiscard]] double worth(double theta, const PipelineProblem& problem) const {
    return 1 + (theta - problem.tail_of(depth) - sum) / period;
  }
};

/// One row per type, and one for the number of groups.
struct PipelineSource {
  const std::vector<Pipeline>& pipelines;
  const std::vector<double>& worths;
  [[nodiscard]] std::size_t columns() const { return pipelines.size(); }
  [[nodiscard]] double value(std::size_t c) const { return worths[c]; }
  [[nodiscard]] double amount(std::size_t c, std::size_t k) const {
    return k < pipelines[c].units.size() ? pipelines[c].units[k] : 1;
  }
};

/// The seconds of all stages, in runs of nearly equal ones.
std::vector<Period> periods_of(const PipelineProblem& problem, double most) {
  const StageTable& stages = problem.stages;
  std::vector<double> seconds;
  for (int type = 0; type < problem.types(); ++type) {
    if (problem.units[static_cast<std::size_t>(type)] == 0) continue;
    for (int r = 1; r <= problem.max_depth; ++r) {
      for (int begin = 0; begin < stages.layers(); ++begin) {
        if (stages.alike() && begin > 1) break;
        for (int end = begin + 1; end <= stages.layers(); ++end) {
          const double u = stages.seconds(type, r, begin, end);
          if (u <= most) seconds.push_back(u);
        }
      }
    }
  }
  std::sort(seconds.begin(), seconds.end());
  constexpr double kNear = 1.005;
  std::vector<Period> periods;
  for (const double u : seconds) {
    if (!periods.empty() && u <= periods.back().least * kNear) {
      periods.back().most = u;
    } else {
      periods.push_back({u, u});
    }
  }
  return periods;
}

/// The pipeline that is worth most above its price, for one period.
class Pricing {
 public:
  explicit Pricing(const PipelineProblem& problem)
      : problem_(problem),
        layers_(problem.stages.layers()),
        depth_(std::min(problem.max_depth, problem.stages.layers())),
        types_(problem.units.size()),
        width_(static_cast<std::size_t>(layers_) + 1) {
    costs_.assign(static_cast<std::size_t>(depth_) * types_ * width_, kInfinite);
    joined_.assign(width_, kInfinite);
    least_tail_ = kInfinite;
    for (int depth = 1; depth <= depth_; ++depth) {
      least_tail_ = std::min(least_tail_, problem.tail_of(depth));
    }
    least_.assign(types_ * width_, kInfinite);
    const StageTable& stages = problem.stages;
    for (std::size_t k = 0; k < types_; ++k) {
      if (problem.units[k] == 0) continue;
      for (int r = 1; r <= depth_; ++r) {
        for (int begin = 0; begin < layers_; ++begin) {
          if (stages.alike() && begin > 1) break;
          for (int end = begin + 1; end <= layers_; ++end) {
            double& least = least_[k * width_ + static_cast<std::size_t>(end - begin)];
            least = std::min(least, stages.seconds(static_cast<int>(k), r, begin, end));
          }
        }
      }
    }
  }

  struct Offer {
    double excess = 0;  // worth less price; 0: none is worth more than its price
    Pipeline pipeline;
  };
  [[nodiscard]] Offer best(const Period& period, double theta, const std::vector<double>& prices,
                           double toll) {
    // Costs beyond this buy no pipeline.
    const double budget = 1 + (theta - least_tail_) / period.least - toll;
    if (budget <= 0 || !prepare(period, prices)) return {};
    Offer offer;
    int best_depth = 0;
    std::size_t best_type = 0;
    for (int r = 1; r <= depth_; ++r) {
      if (!extend(r, period, prices, budget)) break;
      for (std::size_t k = 0; k < types_; ++k) {
        const double whole = row(r, k)[layers_];
        const double excess = 1 + (theta - problem_.tail_of(r)) / period.least - toll - whole;
        if (excess > offer.excess) {
          offer.excess = excess;
          best_depth = r;
          best_type = k;
        }
      }
    }
    if (best_depth > 0) offer.pipeline = trace(best_depth, best_type, period, prices);
    return offer;
  }

 private:
  [[nodiscard]] double* row(int r, std::size_t k) {
    return costs_.data() + (static_cast<std::size_t>(r - 1) * types_ + k) * width_;
  }
  [[nodiscard]] double seconds(std::size_t k, int r, int covered, int count) const {
    return problem_.stages.seconds(static_cast<int>(k), r, layers_ - covered, layers_ - covered + count);
  }
  /// What each further layer costs at least; false if no stage is within the period.
  bool prepare(const Period& period, const std::vector<double>& prices) {
    per_layer_ = kInfinite;
    most_layers_.assign(types_, 0);
    for (std::size_t k = 0; k < types_; ++k) {
      for (int count = 1; count <= layers_; ++count) {
        const double u = least_[k * width_ + static_cast<std::size_t>(count)];
        if (u > period.most) continue;
        per_layer_ = std::min(per_layer_, (prices[k] + u / period.least) / count);
        most_layers_[k] = count;
      }
    }
    return per_layer_ < kInfinite;
  }
  /// Costs of all pipelines of r stages; false when none of them can become one within the budget.
  bool extend(int r, const Period& period, const std::vector<double>& prices, double budget) {
    bool any = false;
    for (std::size_t k = 0; k < types_; ++k) {
      double* const to = row(r, k);
      std::fill_n(to, width_, kInfinite);
      if (most_layers_[k] == 0) continue;
      int first = r - 1;
      int last = r == 1 ? 0 : layers_ - 1;
      join(r, k, period, first, last, budget);
      if (first > last) continue;
      any = true;
      const double* const from = joined_.data();
      const double price = prices[k];
      // The stage with the first layer.
      for (int l = std::max(first, layers_ - most_layers_[k]); l <= last; ++l) {
        const double u = seconds(k, r, layers_, layers_ - l);
        if (u <= period.most) to[layers_] = std::min(to[layers_], from[l] + price + u / period.least);
      }
      for (int count = 1; count <= most_layers_[k]; ++count) {
        const int end = std::min(last, layers_ - 1 - count);
        if (first > end) break;
        if (problem_.stages.alike()) {
          const double u = seconds(k, r, layers_ - 1, count);
          if (u > period.most) continue;
          const double own = price + u / period.least;
          double* const shifted = to + count;
          for (int l = first; l <= end; ++l) {
            const double cost = from[l] + own;
            shifted[l] = cost < shifted[l] ? cost : shifted[l];
          }
        } else {
          for (int l = first; l <= end; ++l) {
            const double u = seconds(k, r, l + count, count);
            if (u <= period.most) to[l + count] = std::min(to[l + count], from[l] + price + u / period.least);
          }
        }
      }
    }
    return any;
  }
  /// The cheapest pipelines of r - 1 stages behind one that begins with type k; within [first, last].
  void join(int r, std::size_t k, const Period& period, int& first, int& last, double budget) {
    if (r == 1) {
      joined_[0] = 0;
      return;
    }
    int begin = last + 1;
    int end = first - 1;
    for (int l = first; l <= last; ++l) {
      double least = kInfinite;
      for (std::size_t f = 0; f < types_; ++f) {
        least = std::min(least, row(r - 1, f)[l] + problem_.round_trip_s[k][f] / period.least);
      }
      if (least + per_layer_ * (layers_ - l) > budget) least = kInfinite;
      joined_[static_cast<std::size_t>(l)] = least;
      if (least == kInfinite) continue;
      begin = std::min(begin, l);
      end = l;
    }
    first = begin;
    last = end;
  }
  [[nodiscard]] Pipeline trace(int r, std::size_t k, const Period& period,
                               const std::vector<double>& prices) {
    Pipeline found;
    found.units.assign(types_, 0);
    found.depth = r;
    found.period = period.least;
    int covered = layers_;
    while (true) {
      // The step that comes nearest: equal but for rounding.
      const double cost = row(r, k)[covered];
      double nearest = kInfinite;
      int count = covered;
      std::size_t next = 0;
      for (int n = r == 1 ? covered : 1; n <= std::min(most_layers_[k], covered - (r - 1)); ++n) {
        const double u = seconds(k, r, covered, n);
        if (u > period.most) continue;
        const double own = prices[k] + u / period.least;
        for (std::size_t f = 0; f < (r == 1 ? 1 : types_); ++f) {
          const double rest =
              r == 1 ? 0 : row(r - 1, f)[covered - n] + problem_.round_trip_s[k][f] / period.least;
          if (std::abs(own + rest - cost) < nearest) {
            nearest = std::abs(own + rest - cost);
            count = n;
            next = f;
          }
        }
      }
      ++found.units[k];
      found.sum += seconds(k, r, covered, count);
      if (r == 1) return found;
      found.sum += problem_.round_trip_s[k][next];
      covered -= count;
      k = next;
      --r;
    }
  }

  const PipelineProblem& problem_;
  int layers_;
  int depth_;
  std::size_t types_;
  std::size_t width_;
  double least_tail_ = 0;
  double per_layer_ = 0;
  std::vector<double> least_;     // seconds of any stage, [type][layers]
  std::vector<int> most_layers_;  // of a stage of each type within the period
  std::vector<double> costs_;     // [stages - 1][front type][layers covered]
  std::vector<double> joined_;
};

class PriceSearch {
 public:
  PriceSearch(const PipelineProblem& problem, const PriceBoundOptions& options, const Cancelled& cancelled)
      : problem_(problem),
        options_(options),
        cancelled_(cancelled),
        pricing_(problem),
        periods_(periods_of(problem, options.enough_s)) {
    for (const int count : problem.units) room_.push_back(count);
    room_.push_back(options.most_groups);
    prices_.assign(problem.units.size(), 0);  // at which every pipeline is worth more than its price
  }

  /// Whether no solution takes theta seconds or less.
  [[nodiscard]] bool refutes(double theta) {
    const auto due = static_cast<double>(problem_.micro_batches);
    for (int round = 0; round < options_.rounds; ++round) {
      if (cancelled_ && cancelled_()) return false;
      master(theta);
      const double paid = cost();
      // With the pipelines known so far the relaxation already does all: no prices will refute theta.
      constexpr double kEnough = 1 + 1e-9;
      if (!pipelines_.empty() && paid >= due * kEnough) return false;
      // Some pipelines at a time are enough to go on; only a pass over all periods says that no more is
      // broken.
      constexpr std::size_t kOffers = 24;
      constexpr double kRounding = 1e-9;  // of sums of some hundred terms
      double excess = 0;
      std::vector<Pipeline> found;
      std::size_t priced = 0;
      for (; priced < periods_.size() && found.size() < kOffers; ++priced) {
        next_ = (next_ + 1) % periods_.size();
        Pricing::Offer offer = pricing_.best(periods_[next_], theta, prices_, toll_);
        excess = std::max(excess, offer.excess);
        if (offer.excess > kRounding) found.push_back(std::move(offer.pipeline));
      }
      const bool all = priced == periods_.size();
      if (all && (paid + excess * room_.back()) * (1 + kRounding) < due) return true;
      if (found.empty()) return false;
      pipelines_.insert(pipelines_.end(), std::make_move_iterator(found.begin()),
                        std::make_move_iterator(found.end()));
    }
    return false;
  }

 private:
  /// Prices and toll of the relaxation over the pipelines known.
  void master(double theta) {
    if (pipelines_.empty()) return;
    worths_.clear();
    for (const Pipeline& pipeline : pipelines_) worths_.push_back(pipeline.worth(theta, problem_));
    const PipelineSource source{pipelines_, worths_};
    const Relaxation relaxation(source, room_);
    for (std::size_t k = 0; k < prices_.size(); ++k) prices_[k] = std::max(0.0, relaxation.prices()[k]);
    toll_ = std::max(0.0, relaxation.prices().back());
  }
  [[nodiscard]] double cost() const {
    double sum = toll_ * room_.back();
    for (std::size_t k = 0; k < prices_.size(); ++k) sum += prices_[k] * room_[k];
    return sum;
  }

  const PipelineProblem& problem_;
  const PriceBoundOptions& options_;
  const Cancelled& cancelled_;
  Pricing pricing_;
  std::vector<Period> periods_;
  std::vector<double> room_;
  std::vector<double> prices_;
  double toll_ = 0;
  std::vector<Pipeline> pipelines_;
  std::vector<double> worths_;
  std::size_t next_ = 0;  // the period priced last
};

}  // namespace

double price_bound(const PipelineProblem& problem, const PriceBoundOptions& options,
                   const Cancelled& cancelled) {
  double refuted = work_bound(problem);
  if (!(refuted < options.enough_s)) return refuted;
  PriceSearch search(problem, options, cancelled);
  if (search.refutes(options.enough_s)) return options.enough_s;
  double possible = options.enough_s;
  while (possible - refuted > options.tolerance * possible && !(cancelled && cancelled())) {
    const double middle = refuted + (possible - refuted) / 2;
    (search.refutes(middle) ? refuted : possible) = middle;
  }
  return refuted;
}

}  // namespace tessera::planner
