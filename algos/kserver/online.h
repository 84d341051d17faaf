/// Online k-server: requests come one at a time and are served before the next is known.
///
/// An Online algorithm moves k roles. After serve(r) some role stands on r; costs() tells what each role has
/// paid so far. A role is not yet a server: FairOnline (fair_online.h) decides who plays which role, and
/// without it server i plays role i.
///
///   class                  metric    competitive ratio   fairness
///   DoubleCoverageLine     line      k                   costs differ by at most 2 (k-1) diameter
///   DoubleCoverageTree     tree      k                   ((k+1)/2, O(k diameter)), tight: Theta(k)
///   WorkFunction           any       2k - 1              none known
///   Greedy                 any       none                none
///   Fifo                   uniform   k                   costs differ by at most one move
///
/// An eager algorithm (Double Coverage) may leave a role between points of the metric; Lazy turns it into
/// one that stands on points only, moves one role per request, and costs no more.
/// Requires    start points inside the metric, at least one; requests inside the metric; at most
///             kMaxCost / (k * diameter) requests. make_online checks the starts and says what is wrong.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "algos/kserver/schedule.h"

namespace tessera::kserver {

using Role = Index<struct RoleTag>;

struct Payment {
  Role role;
  Distance distance = 0;
};

class Online {
 public:
  virtual ~Online() = default;

  /// The role that stands on `request` afterwards and serves it.
  Role serve(Point request);

  [[nodiscard]] std::size_t roles() const { return costs_.size(); }
  [[nodiscard]] std::span<const Distance> costs() const { return costs_; }
  [[nodiscard]] Distance total() const { return total_; }
  /// Who moved in the last serve(), and how far.
  [[nodiscard]] std::span<const Payment> last_payments() const { return payments_; }
  [[nodiscard]] Distance diameter() const { return diameter_; }
  /// How far apart two roles stand; at most diameter().
  [[nodiscard]] virtual Distance between(Role a, Role b) const = 0;

 protected:
  Online(const Metric& metric, std::size_t roles);
  void pay(Role role, Distance distance);

 private:
  virtual Role move_to(Point request) = 0;

  std::int32_t points_;
  Distance diameter_;
  std::vector<Distance> costs_;
  std::vector<Payment> payments_;
  Distance total_ = 0;
  std::int64_t requests_left_;
};

/// Roles that stand on points of any metric, one of which moves per request.
class OnPoints : public Online {
 public:
  [[nodiscard]] Distance between(Role a, Role b) const override;
  [[nodiscard]] Point at(Role role) const { return at_[static_cast<std::size_t>(role.value)]; }

 protected:
  OnPoints(const Metric& metric, std::vector<Point> starts);
  [[nodiscard]] const Metric& metric() const { return metric_; }
  [[nodiscard]] std::span<const Point> all() const { return at_; }
  Role move(Role role, Point to);

 private:
  const Metric& metric_;
  std::vector<Point> at_;
};

/// The nearest role goes, the lowest number among equals.
class Greedy final : public OnPoints {
 public:
  Greedy(const Metric& metric, std::vector<Point> starts) : OnPoints(metric, std::move(starts)) {}

 private:
  Role move_to(Point request) override;
};

/// A role moves when the wrapped algorithm's role arrives, straight from where it served before: never more
/// than the wrapped algorithm pays, role by role, by the triangle inequality.
class Lazy final : public OnPoints {
 public:
  Lazy(const Metric& metric, std::vector<Point> starts, std::unique_ptr<Online> eager);

 private:
  Role move_to(Point request) override { return move(eager_->serve(request), request); }
  std::unique_ptr<Online> eager_;
};

enum class Algorithm { kDoubleCoverage, kWorkFunction, kGreedy, kFifo };

/// The algorithm, started. The metric must outlive it.
/// Errors    no start, a start outside; double coverage on neither line nor tree; fifo on no uniform metric.
Result<std::unique_ptr<Online>> make_online(Algorithm algorithm, const Metric& metric,
                                            std::vector<Point> starts);

/// "double-coverage", "work-function", "greedy", "fifo"
std::string_view algorithm_name(Algorithm algorithm);

}  // namespace tessera::kserver
