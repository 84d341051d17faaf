#include <cstdio>

#include "algos/kserver/fair_offline.h"
#include "algos/kserver/line_metric.h"
#include "algos/kserver/optimum.h"

int main() {
  using namespace tessera::kserver;
  const auto line = LineMetric::make({0, 1, 10}).value();
  const Instance instance{{Point(0), Point(2)}, {Point(1), Point(2), Point(1)}};
  const auto best = optimum(line, instance).value();
  const auto fair = make_fair(line, instance, best.schedule, {.eps = 0.1}).value();
  std::printf("cost %ld, dearest server %ld\n", best.cost, fair.certificate.dearest);
}
