// Metric and request files of any text are refused with a message, or they are a metric and a problem that
// can be solved: both forms of the optimum agree, no online algorithm is cheaper, and the fair schedule keeps
// its bound.
//
// Input: n (u16, little-endian), then n bytes of the metric, then the requests.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "algos/kserver/fair_offline.h"
#include "algos/kserver/instance_file.h"
#include "algos/kserver/online.h"
#include "algos/kserver/optimum.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace tessera;
using namespace tessera::kserver;

constexpr std::int32_t kPointsTried = 16;
constexpr std::size_t kRequestsTried = 64;  // a Dijkstra per server over all of them, for each input

void check_metric(const Metric& metric) {
  const std::int32_t n = std::min(metric.points(), kPointsTried);
  for (Point a(0); a.value < n; ++a) {
    fuzz::require_property(metric.distance(a, a) == 0, "d(a,a) = 0");
    for (Point b(0); b.value < n; ++b) {
      const Distance direct = metric.distance(a, b);
      fuzz::require_property(direct >= 0 && direct <= metric.diameter(), "0 <= d <= diameter");
      fuzz::require_property(direct == metric.distance(b, a), "symmetry");
      for (Point c(0); c.value < n; ++c) {
        fuzz::require_property(direct <= metric.distance(a, c) + metric.distance(c, b),
                               "triangle inequality");
      }
    }
  }
}

void check_problem(const Metric& metric, const Instance& instance) {
  const auto dense = optimum(metric, instance, Form::kDense);
  const auto expanded = optimum(metric, instance, Form::kTimeExpanded);
  fuzz::require_property(dense.ok() && expanded.ok(), "a checked problem is solved");
  fuzz::require_property(dense->cost == expanded->cost, "both forms agree");
  const auto fair = make_fair(metric, instance, dense->schedule);
  fuzz::require_property(fair.ok() && fair->certificate.reached, "the fair bound is kept");
  for (const Algorithm algorithm :
       {Algorithm::kDoubleCoverage, Algorithm::kWorkFunction, Algorithm::kGreedy, Algorithm::kFifo}) {
    auto online = make_online(algorithm, metric, instance.servers);
    if (!online.ok()) continue;
    for (const Point request : instance.requests) online.value()->serve(request);
    fuzz::require_property(online.value()->total() >= dense->cost, "no algorithm beats the optimum");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t metric_bytes = std::min<std::size_t>(data[0] | data[1] << 8, size - 2);
  const std::string metric_text(data + 2, data + 2 + metric_bytes);
  const std::string requests_text(data + 2 + metric_bytes, data + size);
  const auto metric = parse_metric(metric_text, "metric.json");
  if (!metric.ok()) {
    fuzz::require_complaint(metric.status().message(), "metric.json");
    return 0;
  }
  check_metric(*metric.value());
  const auto instance = parse_instance(*metric.value(), requests_text, "requests.json");
  if (!instance.ok()) {
    fuzz::require_complaint(instance.status().message(), "requests.json");
    return 0;
  }
  const bool small = instance->requests.size() <= kRequestsTried &&
                     instance->servers.size() <= kRequestsTried && metric.value()->points() <= 4096;
  if (small) check_problem(*metric.value(), instance.value());
  return 0;
}
