/// The offline optimum against LEMON's network simplex, and what fairness costs, in one run.
///
/// optimum   each line is one size; `speedup` = LEMON's time / ours with the form that auto chooses. LEMON's
/// time is
///           that of its simplex alone, ours is the whole call. Rounds alternate; each reports its best.
/// online    nanoseconds per request.
///   kserver-bench [--limit T]      most requests for LEMON, default 1500
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "algos/kserver/fair_offline.h"
#include "algos/kserver/fair_online.h"
#include "algos/kserver/optimum.h"
#include "tests/algos/kserver/instances.h"
#include "tests/algos/kserver/lemon_tables.h"

namespace tessera::kserver {
namespace {

using test::Random;

template <class F>
double seconds(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void compare_optimum(const Metric& metric, int k, int requests, int limit) {
  Random random(static_cast<std::uint64_t>(requests));
  const Instance instance = test::random_instance(random, metric, k, requests);
  double dense = 1e9;
  double expanded = 1e9;
  double lemon = 1e9;
  const int rounds = requests <= 500 ? 5 : 2;
  Distance cost = 0;
  Distance peer = 0;
  const std::unique_ptr<test::LemonTables> tables =
      requests <= limit ? std::make_unique<test::LemonTables>(metric, instance) : nullptr;
  for (int round = 0; round < rounds; ++round) {
    dense = std::min(dense, seconds([&] { cost = optimum(metric, instance, Form::kDense)->cost; }));
    expanded =
        std::min(expanded, seconds([&] { cost = optimum(metric, instance, Form::kTimeExpanded)->cost; }));
    if (!tables) continue;
    const test::LemonOptimum answer = tables->solve();
    peer = answer.cost;
    lemon = std::min(lemon, answer.seconds);
  }
  const Form form = optimum(metric, instance)->form;
  const std::string chosen = form == Form::kDense ? "dense" : "time-expanded";
  fmt::print("{:>7} {:>4} {:>7} {:>11.2f} {:>14.2f} {:>14}", metric.points(), k, requests, dense * 1e3,
             expanded * 1e3, chosen);
  if (tables) {
    fmt::print(" {:>11.2f} {:>8.1f}{}\n", lemon * 1e3, lemon / (form == Form::kDense ? dense : expanded),
               cost == peer ? "" : "  COSTS DIFFER");
  } else {
    fmt::print(" {:>11} {:>8}\n", "-", "-");
  }
}

void show_fair_start(double share) {
  Random random(13);
  const LineMetric line = test::random_line(random, 500, 1000);
  const Instance instance = test::random_instance(random, line, 64, 20000);
  Schedule start;
  for (std::size_t t = 0; t < instance.requests.size(); ++t) {
    const bool first = static_cast<double>(test::between(random, 0, 999)) < 1000 * share;
    start.server_of.emplace_back(first ? 0 : static_cast<std::int32_t>(test::between(random, 1, 63)));
  }
  const double before = max_over_mean(server_costs(line, instance, start));
  FairSchedule fair;
  const double time = seconds([&] { fair = make_fair(line, instance, start, {0.05, Distance{0}}).value(); });
  fmt::print("{:>6.0f} % {:>9.2f} {:>9.3f} {:>7} {:>10.3f} % {:>9.2f}\n", share * 100, before,
             max_over_mean(fair.costs), fair.certificate.swaps,
             100.0 * (static_cast<double>(fair.certificate.total) /
                          static_cast<double>(fair.certificate.start_total) -
                      1),
             time * 1e3);
}

/// Means over 40 optimal schedules of random requests on random matrices of 30 points.
void show_fair_optima(int k, int requests, double eps) {
  double before = 0;
  double after = 0;
  double added = 0;
  constexpr int kInstances = 40;
  for (int i = 0; i < kInstances; ++i) {
    Random random(static_cast<std::uint64_t>(i));
    const MatrixMetric matrix = test::random_matrix(random, 30, 1000);
    const Instance instance = test::random_instance(random, matrix, k, requests);
    const Optimum best = optimum(matrix, instance).value();
    const FairSchedule fair = make_fair(matrix, instance, best.schedule, {eps, Distance{0}}).value();
    before += max_over_mean(server_costs(matrix, instance, best.schedule)) / kInstances;
    after += max_over_mean(fair.costs) / kInstances;
    added += (static_cast<double>(sum(fair.costs)) / static_cast<double>(best.cost) - 1) / kInstances;
  }
  fmt::print("{:>4} {:>7} {:>6} {:>9.3f} {:>9.3f} {:>10.3f} %\n", k, requests, eps, before, after,
             added * 100);
}

void show_online(const std::string& name, const Metric& metric, Algorithm algorithm, int k, int requests) {
  Random random(14);
  const Instance instance = test::random_instance(random, metric, k, requests);
  auto alone = make_online(algorithm, metric, instance.servers).value();
  const double plain = seconds([&] {
    for (const Point request : instance.requests) alone->serve(request);
  });
  auto fair = FairOnline::start(make_online(algorithm, metric, instance.servers).value(), {0.1, 1}).value();
  const double dealt = seconds([&] {
    for (const Point request : instance.requests) fair.serve(request);
  });
  const auto extra = static_cast<double>(sum(fair.costs())) / static_cast<double>(alone->total()) - 1;
  fmt::print("{:<24} {:>4} {:>9} {:>11.0f} {:>11.0f} {:>9.3f} {:>9.3f} {:>8.1f} %\n", name, k, requests,
             plain / requests * 1e9, dealt / requests * 1e9, max_over_mean(alone->costs()),
             max_over_mean(fair.costs()), extra * 100);
}

}  // namespace
}  // namespace tessera::kserver

int main(int argc, char** argv) {
  using namespace tessera::kserver;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a line as soon as it is known, also into a file
  int limit = 1500;
  if (argc == 3 && std::string_view(argv[1]) == "--limit") limit = std::stoi(argv[2]);
  test::Random random(15);
  fmt::print("optimum, milliseconds\n{:>7} {:>4} {:>7} {:>11} {:>14} {:>14} {:>11} {:>8}\n", "points", "k",
             "T", "dense", "time-expanded", "auto", "LEMON", "speedup");
  const MatrixMetric few = test::random_matrix(random, 32, 1000);
  const LineMetric many = test::random_line(random, 100000, 1 << 20);
  for (const int k : {4, 16}) {
    for (const int requests : {100, 500, 1500, 5000}) compare_optimum(few, k, requests, limit);
    for (const int requests : {100, 500, 1500}) compare_optimum(many, k, requests, limit);
  }

  fmt::print(
      "\nfair schedule, k = 64, T = 20000, additive 0, eps 0.05\n{:>8} {:>9} {:>9} {:>7} {:>12} {:>9}\n",
      "server 0", "before", "after", "swaps", "added", "ms");
  for (const double share : {0.1, 0.5, 0.9, 0.99}) show_fair_start(share);

  fmt::print("\nfair schedules from optima, additive 0\n{:>4} {:>7} {:>6} {:>9} {:>9} {:>12}\n", "k", "T",
             "eps", "before", "after", "added");
  for (const int requests : {250, 2000}) {
    for (const double eps : {0.05, 0.2}) show_fair_optima(4, requests, eps);
  }
  show_fair_optima(16, 2000, 0.2);

  fmt::print(
      "\nonline, nanoseconds per request; dearest / mean, alone and dealt with eps 0.1\n"
      "{:<24} {:>4} {:>9} {:>11} {:>11} {:>9} {:>9} {:>10}\n",
      "", "k", "T", "alone", "dealt", "alone", "dealt", "added");
  const LineMetric line = test::random_line(random, 1000, 1000);
  const TreeMetric tree = test::random_tree(random, 1000, 10);
  const UniformMetric uniform = UniformMetric::make(1000, 1).value();
  for (const int k : {8, 64}) {
    show_online("double coverage, line", line, Algorithm::kDoubleCoverage, k, 100000);
    show_online("double coverage, tree", tree, Algorithm::kDoubleCoverage, k, 20000);
    show_online("greedy, tree", tree, Algorithm::kGreedy, k, 100000);
    show_online("fifo, uniform", uniform, Algorithm::kFifo, k, 100000);
    show_online("work function, matrix", few, Algorithm::kWorkFunction, k / 4, 1000);
  }
}
