#include "algos/kserver/fair_offline.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "algos/base/require.h"

namespace tessera::kserver {
namespace {

/// One server's part of the schedule.
struct Tour {
  Point start;
  std::vector<std::int32_t> requests;  // their numbers, rising
  Distance cost = 0;
};

/// Two tours cut at one moment: how many requests of each lie before it, and the costs after the exchange.
struct Cut {
  std::size_t of_h = 0;
  std::size_t of_l = 0;
  Distance cost_h = 0;
  Distance cost_l = 0;
  [[nodiscard]] std::pair<Distance, Distance> rank() const {
    return {std::max(cost_h, cost_l), cost_h + cost_l};
  }
};

class Fairness {
 public:
  Fairness(const Metric& metric, const Instance& instance, const Schedule& schedule)
      : metric_(metric), requests_(instance.requests) {
    for (const Point start : instance.servers) tours_.push_back({start, {}, 0});
    const std::vector<Distance> costs = server_costs(metric, instance, schedule);
    for (std::size_t s = 0; s < tours_.size(); ++s) tours_[s].cost = costs[s];
    for (std::size_t t = 0; t < requests_.size(); ++t) {
      tours_[static_cast<std::size_t>(schedule.server_of[t].value)].requests.push_back(
          static_cast<std::int32_t>(t));
    }
  }

  [[nodiscard]] Tour& dearest() { return *std::max_element(tours_.begin(), tours_.end(), cheaper); }
  [[nodiscard]] Tour& cheapest() { return *std::min_element(tours_.begin(), tours_.end(), cheaper); }

  [[nodiscard]] Cut best_cut(const Tour& h, const Tour& l) const {
    Walk walk_h(*this, h);
    Walk walk_l(*this, l);
    Cut best = cut_at(walk_h, walk_l);
    while (!walk_h.done() || !walk_l.done()) {
      const bool step_h = !walk_h.done() && (walk_l.done() || walk_h.next() < walk_l.next());
      (step_h ? walk_h : walk_l).step();
      const Cut cut = cut_at(walk_h, walk_l);
      if (cut.rank() < best.rank()) best = cut;
    }
    return best;
  }

  static void exchange(Tour& h, Tour& l, const Cut& cut) {
    const auto cut_h = h.requests.begin() + static_cast<std::ptrdiff_t>(cut.of_h);
    const auto cut_l = l.requests.begin() + static_cast<std::ptrdiff_t>(cut.of_l);
    const std::vector<std::int32_t> tail_h(cut_h, h.requests.end());
    h.requests.erase(cut_h, h.requests.end());
    h.requests.insert(h.requests.end(), cut_l, l.requests.end());
    l.requests.erase(cut_l, l.requests.end());
    l.requests.insert(l.requests.end(), tail_h.begin(), tail_h.end());
    h.cost = cut.cost_h;
    l.cost = cut.cost_l;
  }

  [[nodiscard]] Schedule schedule() const {
    Schedule schedule{std::vector<Server>(requests_.size())};
    for (std::size_t s = 0; s < tours_.size(); ++s) {
      for (const std::int32_t t : tours_[s].requests) {
        schedule.server_of[static_cast<std::size_t>(t)] = Server(static_cast<std::int32_t>(s));
      }
    }
    return schedule;
  }

 private:
  static bool cheaper(const Tour& a, const Tour& b) { return a.cost < b.cost; }

  /// A tour from its start: what is paid so far, and what will be behind the next request.
  class Walk {
   public:
    Walk(const Fairness& in, const Tour& tour) : in_(in), tour_(tour), at_(tour.start) { look_ahead(); }
    [[nodiscard]] bool done() const { return served_ == tour_.requests.size(); }
    [[nodiscard]] std::int32_t next() const { return tour_.requests[served_]; }
    [[nodiscard]] std::size_t served() const { return served_; }
    void step() {
      at_ = next_point();
      before_ += to_next_;
      ++served_;
      look_ahead();
    }
    /// The cost of this server when it goes on as `other` would have.
    [[nodiscard]] Distance going_on_as(const Walk& other) const {
      if (other.done()) return before_;
      return before_ + in_.metric_.distance(at_, other.next_point()) + other.behind_;
    }

   private:
    [[nodiscard]] Point next_point() const { return in_.requests_[static_cast<std::size_t>(next())]; }
    void look_ahead() {
      to_next_ = done() ? 0 : in_.metric_.distance(at_, next_point());
      behind_ = tour_.cost - before_ - to_next_;
    }
    const Fairness& in_;
    const Tour& tour_;
    Point at_;
    std::size_t served_ = 0;
    Distance before_ = 0;
    Distance to_next_ = 0;
    Distance behind_ = 0;
  };

  static Cut cut_at(const Walk& h, const Walk& l) {
    return {h.served(), l.served(), h.going_on_as(l), l.going_on_as(h)};
  }

  const Metric& metric_;
  std::span<const Point> requests_;
  std::vector<Tour> tours_;
};

double theorem_additive(double eps, Distance diameter) {
  // No cost exceeds kMaxCost, so a larger term would change nothing.
  return std::min(std::ceil(6 * (1 + eps) / eps * static_cast<double>(diameter)),
                  static_cast<double>(kMaxCost));
}

}  // namespace

namespace internal {

Status check_eps(double eps) {
  if (eps >= kMinEps && eps <= 1) return {};  // false for NaN
  std::ostringstream found;
  found << eps;
  return bad_input({"eps", "", found.str(), "a number from 1e-6 to 1",
                    "0.1 lets a server pay a tenth more than the mean"});
}

}  // namespace internal

Result<FairSchedule> make_fair(const Metric& metric, const Instance& instance, const Schedule& schedule,
                               const FairOptions& options) {
  TS_TRY(check_instance(metric, instance));
  TS_TRY(check_schedule(instance, schedule));
  TS_TRY(internal::check_eps(options.eps));
  if (options.additive && (*options.additive < 0 || *options.additive > kMaxCost)) {
    return bad_input({"additive", "", std::to_string(*options.additive), "0 to 2^61",
                      "leave it out for the value with a guarantee"});
  }
  const double eps = options.eps;
  const auto k = static_cast<double>(instance.servers.size());
  const auto needed = static_cast<Distance>(theorem_additive(eps, metric.diameter()));

  Fairness fairness(metric, instance, schedule);
  FairSchedule answer;
  FairCertificate& is = answer.certificate;
  is.additive = options.additive.value_or(needed);
  is.proven = is.additive >= needed;
  is.start_total = is.total = sum(server_costs(metric, instance, schedule));
  is.dearest = fairness.dearest().cost;
  const auto start_dearest = static_cast<double>(is.dearest);
  double least_allowed = std::max(start_dearest, 1.0);
  while (true) {
    is.allowed = (1 + eps) * static_cast<double>(is.total) / k + static_cast<double>(is.additive);
    is.reached = static_cast<double>(is.dearest) <= is.allowed;
    if (is.reached) break;
    // Costs are whole numbers, so a dearest server still pays 1: the logarithm stays finite.
    least_allowed = std::min(least_allowed, std::max(is.allowed, 1.0));
    is.swap_limit = static_cast<std::int64_t>(
        (k - 1) * std::ceil(4 * (1 + eps) / eps * std::log(start_dearest / least_allowed)));
    Tour& h = fairness.dearest();
    Tour& l = fairness.cheapest();
    const Cut cut = fairness.best_cut(h, l);
    const bool helps = std::max(cut.cost_h, cut.cost_l) < h.cost;
    if (!helps || is.swaps == is.swap_limit) break;
    const Distance added = cut.cost_h + cut.cost_l - h.cost - l.cost;
    TS_REQUIRE(added <= 2 * metric.diameter(), added, metric.diameter());
    Fairness::exchange(h, l, cut);
    is.total += added;
    is.dearest = fairness.dearest().cost;
    ++is.swaps;
  }
  TS_REQUIRE(is.reached || !is.proven, is.dearest, is.allowed, is.swaps, is.swap_limit);
  answer.schedule = fairness.schedule();
  answer.costs = server_costs(metric, instance, answer.schedule);
  TS_REQUIRE(sum(answer.costs) == is.total, sum(answer.costs), is.total);
  return answer;
}

}  // namespace tessera::kserver
