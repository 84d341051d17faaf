/// A k-server problem and an answer to it.
///
/// k servers stand on points of a metric; requests name points, one after the other; one server must go to
/// each. A Schedule says which. Servers are lazy: a server moves only to serve, straight from the point it
/// served before. By the triangle inequality nothing is gained by moving earlier.
///
/// Example   line 0, 1, 10; servers start on points 0 and 2 (at 0 and 10); requests 1 2 1.
///           Schedule 0 1 0: server 0 pays 1, server 1 pays 0.   Schedule 0 0 0: server 0 pays 1 + 9 + 9.
#pragma once

#include <string>
#include <vector>

#include "algos/kserver/metric.h"

namespace tessera::kserver {

using Server = Index<struct ServerTag>;

struct Instance {
  std::vector<Point> servers;   // k > 0 start points; they may repeat
  std::vector<Point> requests;  // T >= 0 points; they may repeat
};

struct Schedule {
  std::vector<Server> server_of;  // one per request
};

/// kInvalidArgument for no server, a point outside the metric, or (T + k) * k * diameter > kMaxCost.
Status check_instance(const Metric& metric, const Instance& instance, const std::string& source = "requests");

/// kInvalidArgument unless there is one existing server per request.
Status check_schedule(const Instance& instance, const Schedule& schedule);

/// What each server pays. Requires a checked instance and schedule.
std::vector<Distance> server_costs(const Metric& metric, const Instance& instance, const Schedule& schedule);

Distance sum(std::span<const Distance> costs);

/// The dearest server's cost over the mean; 1 when nobody pays.
double max_over_mean(std::span<const Distance> costs);

}  // namespace tessera::kserver
