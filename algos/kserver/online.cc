#include "algos/kserver/online.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "algos/base/require.h"
#include "algos/kserver/double_coverage_line.h"
#include "algos/kserver/double_coverage_tree.h"
#include "algos/kserver/fifo.h"
#include "algos/kserver/work_function.h"

namespace tessera::kserver {

Online::Online(const Metric& metric, std::size_t roles)
    : points_(metric.points()), diameter_(metric.diameter()), costs_(roles, 0) {
  TS_REQUIRE(roles > 0 && roles <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()), roles);
  const auto per_request = static_cast<std::int64_t>(roles) * std::max(diameter_, Distance{1});
  requests_left_ = kMaxCost / per_request;
}

Role Online::serve(Point request) {
  TS_REQUIRE(request.value >= 0 && request.value < points_, request, points_);
  TS_REQUIRE(requests_left_ > 0, diameter_, roles());
  --requests_left_;
  payments_.clear();
  return move_to(request);
}

void Online::pay(Role role, Distance distance) {
  if (distance == 0) return;
  costs_[static_cast<std::size_t>(role.value)] += distance;
  total_ += distance;
  payments_.push_back({role, distance});
}

OnPoints::OnPoints(const Metric& metric, std::vector<Point> starts)
    : Online(metric, starts.size()), metric_(metric), at_(std::move(starts)) {}

Distance OnPoints::between(Role a, Role b) const { return metric_.distance(at(a), at(b)); }

Role OnPoints::move(Role role, Point to) {
  pay(role, metric_.distance(at(role), to));
  at_[static_cast<std::size_t>(role.value)] = to;
  return role;
}

Role Greedy::move_to(Point request) {
  const auto distance = [&](Point p) { return metric().distance(p, request); };
  const auto nearest = std::min_element(all().begin(), all().end(),
                                        [&](Point a, Point b) { return distance(a) < distance(b); });
  return move(Role(static_cast<std::int32_t>(nearest - all().begin())), request);
}

Lazy::Lazy(const Metric& metric, std::vector<Point> starts, std::unique_ptr<Online> eager)
    : OnPoints(metric, std::move(starts)), eager_(std::move(eager)) {
  TS_REQUIRE(eager_ != nullptr && eager_->roles() == roles(), roles());
}

std::string_view algorithm_name(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kDoubleCoverage: return "double-coverage";
    case Algorithm::kWorkFunction: return "work-function";
    case Algorithm::kGreedy: return "greedy";
    case Algorithm::kFifo: return "fifo";
  }
  return "";
}

Result<std::unique_ptr<Online>> make_online(Algorithm algorithm, const Metric& metric,
                                            std::vector<Point> starts) {
  TS_TRY(check_instance(metric, {starts, {}}));
  const auto wrong_metric = [&](const char* expected, const char* remedy) {
    return bad_input({"algorithm", "", std::string(algorithm_name(algorithm)), expected, remedy});
  };
  using Made = std::unique_ptr<Online>;
  switch (algorithm) {
    case Algorithm::kDoubleCoverage:
      if (const auto* line = dynamic_cast<const LineMetric*>(&metric)) {
        return Made(std::make_unique<DoubleCoverageLine>(*line, starts));
      }
      if (const auto* tree = dynamic_cast<const TreeMetric*>(&metric)) {
        return Made(std::make_unique<DoubleCoverageTree>(*tree, starts));
      }
      return wrong_metric("a line or a tree", "choose work-function, which serves any metric");
    case Algorithm::kFifo:
      if (const auto* uniform = dynamic_cast<const UniformMetric*>(&metric)) {
        return Made(std::make_unique<Fifo>(*uniform, std::move(starts)));
      }
      return wrong_metric("a uniform metric", "choose work-function, which serves any metric");
    case Algorithm::kWorkFunction: return Made(std::make_unique<WorkFunction>(metric, starts));
    case Algorithm::kGreedy: return Made(std::make_unique<Greedy>(metric, std::move(starts)));
  }
  TS_REQUIRE(false, static_cast<int>(algorithm));
  std::abort();
}

}  // namespace tessera::kserver
