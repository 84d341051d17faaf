#include "algos/kserver/schedule.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace tessera::kserver {
namespace {

Status check_points(const Metric& metric, std::span<const Point> points, const std::string& field,
                    const std::string& source) {
  const auto outside =
      std::find_if(points.begin(), points.end(), [&](Point p) { return !metric.contains(p); });
  if (outside == points.end()) return {};
  return bad_input({source, field + "[" + std::to_string(outside - points.begin()) + "]",
                    std::to_string(outside->value),
                    "a point from 0 to " + std::to_string(metric.points() - 1),
                    "name points by their number in the metric"});
}

}  // namespace

Status check_instance(const Metric& metric, const Instance& instance, const std::string& source) {
  if (instance.servers.empty()) {
    return bad_input({source, "servers", "none", "at least one start point", "say where the servers stand"});
  }
  TS_TRY(check_points(metric, instance.servers, "servers", source));
  TS_TRY(check_points(metric, instance.requests, "requests", source));
  const std::size_t k = instance.servers.size();
  const std::size_t count = instance.requests.size() + k;
  // An online algorithm may move all k servers at each request.
  const double worst =
      static_cast<double>(count) * static_cast<double>(k) * static_cast<double>(metric.diameter());
  if (count > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) ||
      worst > static_cast<double>(kMaxCost)) {
    return bad_input({source, "requests",
                      std::to_string(instance.requests.size()) + " requests, " + std::to_string(k) +
                          " servers, diameter " + std::to_string(metric.diameter()),
                      "(requests + servers) * servers * diameter <= 2^61",
                      "choose a larger unit of distance, or cut the sequence"});
  }
  return {};
}

Status check_schedule(const Instance& instance, const Schedule& schedule) {
  if (schedule.server_of.size() != instance.requests.size()) {
    return bad_input({"schedule", "server_of", std::to_string(schedule.server_of.size()) + " entries",
                      std::to_string(instance.requests.size()) + " entries", "name one server per request"});
  }
  const auto k = static_cast<std::int32_t>(instance.servers.size());
  for (std::size_t t = 0; t < schedule.server_of.size(); ++t) {
    const std::int32_t s = schedule.server_of[t].value;
    if (s >= 0 && s < k) continue;
    return bad_input({"schedule", "server_of[" + std::to_string(t) + "]", std::to_string(s),
                      "a server from 0 to " + std::to_string(k - 1), "name servers by their number"});
  }
  return {};
}

std::vector<Distance> server_costs(const Metric& metric, const Instance& instance, const Schedule& schedule) {
  std::vector<Point> at = instance.servers;
  std::vector<Distance> costs(at.size(), 0);
  for (std::size_t t = 0; t < instance.requests.size(); ++t) {
    const auto s = static_cast<std::size_t>(schedule.server_of[t].value);
    costs[s] += metric.distance(at[s], instance.requests[t]);
    at[s] = instance.requests[t];
  }
  return costs;
}

Distance sum(std::span<const Distance> costs) {
  return std::accumulate(costs.begin(), costs.end(), Distance{0});
}

double max_over_mean(std::span<const Distance> costs) {
  const Distance total = sum(costs);
  if (total == 0) return 1.0;
  const Distance dearest = *std::max_element(costs.begin(), costs.end());
  return static_cast<double>(dearest) * static_cast<double>(costs.size()) / static_cast<double>(total);
}

}  // namespace tessera::kserver
