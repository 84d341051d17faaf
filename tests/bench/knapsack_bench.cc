/// The knapsack solvers against each other and against exact tables, in one run. CPU time: the machine may be
/// busy.
///
///   knapsack-bench families     Pisinger's thirteen classes, n = 1,000, range 1,000: errors against the
///   optimum,
///                               what is proven, and the time of the table over all weights over that of
///                               solve
///   knapsack-bench ranges       the same classes with coefficients up to 1e3 .. 1e6: where proofs end
///   knapsack-bench sizes        n = 1,000 .. 1,000,000: xdp, greedy and solve
///   knapsack-bench layers       one of four choices per layer: solve_multiple_choice against a table over
///   memory
///                               rounded to 1/10,000 of the budget
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/multiple_choice.h"
#include "algos/knapsack/xdp.h"
#include "tests/algos/knapsack/brute_force.h"
#include "tests/algos/knapsack/instances.h"

namespace tessera::knapsack {
namespace {

template <class F>
double cpu_seconds(F f) {
  const std::clock_t start = std::clock();
  f();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

double error(std::int64_t profit, std::int64_t best) {
  return static_cast<double>(best - profit) / static_cast<double>(best);
}

void families() {
  constexpr int kInstances = 20;
  constexpr int kTables = 2;  // a quarter of a second each
  fmt::print("mean relative error against the optimum; ms of CPU\n");
  fmt::print("{:<22} {:>8} {:>8} {:>10} {:>10} {:>7} {:>8} {:>8} {:>9} {:>12}\n", "family", "greedy", "xdp",
             "xdp bound", "certified", "proven", "solve ms", "worst ms", "xdp ms", "table/solve");
  for (const NamedFamily& family : kFamilies) {
    double greedy_error = 0, xdp_error = 0, xdp_bound = 0, certified = 0;
    double solve_seconds = 0, worst_seconds = 0, xdp_seconds = 0, table_seconds = 0, tabled_seconds = 0;
    int proven = 0;
    for (int h = 1; h <= kInstances; ++h) {
      const Instance instance = pisinger(family.family, 1000, 1000, h, kInstances);
      const std::vector<Item>& items = instance.items;
      const std::int64_t capacity = instance.capacity;
      Selection solved, fast;
      const double seconds = cpu_seconds([&] { solved = solve(items, capacity).value(); });
      xdp_seconds += cpu_seconds([&] { fast = xdp(items, capacity).value(); });
      solve_seconds += seconds;
      worst_seconds = std::max(worst_seconds, seconds);
      proven += solved.proven() ? 1 : 0;
      certified = std::max(certified, error(solved.profit, solved.upper_bound));
      greedy_error += error(greedy(items, capacity)->profit, solved.upper_bound) / kInstances;
      xdp_error += error(fast.profit, solved.upper_bound) / kInstances;
      xdp_bound += error(fast.profit, fast.upper_bound) / kInstances;
      // Weights of similar size are a hundred times the range: their table would take minutes.
      if (family.family == Family::kSimilarWeights || h % (kInstances / kTables) != 0) continue;
      std::int64_t best = 0;
      table_seconds += cpu_seconds([&] { best = best_by_table(items, capacity); });
      tabled_seconds += seconds;
      if (solved.profit > best || solved.upper_bound < best) fmt::print("WRONG: {} {}\n", family.name, h);
    }
    const std::string ratio =
        tabled_seconds > 0 ? fmt::format("{:.0f}", table_seconds / tabled_seconds) : "not run";
    fmt::print("{:<22} {:>8.1e} {:>8.1e} {:>10.1e} {:>10.1e} {:>4}/{} {:>8.2f} {:>8.2f} {:>9.2f} {:>12}\n",
               family.name, greedy_error, xdp_error, xdp_bound, certified, proven, kInstances,
               1e3 * solve_seconds / kInstances, 1e3 * worst_seconds, 1e3 * xdp_seconds / kInstances, ratio);
  }
}

void ranges() {
  constexpr int kInstances = 10;
  fmt::print("n = 1,000: proven of {}, worst certified error, mean ms of CPU\n{:<22}", kInstances, "family");
  constexpr std::int64_t kRanges[] = {1000, 10000, 100000, 1000000};
  for (const std::int64_t range : kRanges) fmt::print(" {:>23}", range);
  fmt::print("\n");
  for (const NamedFamily& family : kFamilies) {
    fmt::print("{:<22}", family.name);
    for (const std::int64_t range : kRanges) {
      int proven = 0;
      double worst = 0;
      double seconds = 0;
      for (int h = 1; h <= kInstances; ++h) {
        const Instance instance = pisinger(family.family, 1000, range, h, kInstances);
        Selection solved;
        seconds += cpu_seconds([&] { solved = solve(instance.items, instance.capacity).value(); });
        proven += solved.proven() ? 1 : 0;
        worst = std::max(worst, error(solved.profit, solved.upper_bound));
      }
      fmt::print(" {:>5} {:>8.1e} {:>8.2f}", proven, worst, 1e3 * seconds / kInstances);
    }
    fmt::print("\n");
  }
}

void sizes() {
  fmt::print(
      "uniform profits and weights below 1e6, half of the weight fits; error as certified; ms of CPU\n");
  fmt::print("{:>9} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "n", "chosen", "greedy ms", "error",
             "xdp ms", "error", "solve ms", "error");
  for (const std::size_t n :
       {std::size_t{1000}, std::size_t{10000}, std::size_t{100000}, std::size_t{1000000}}) {
    const Instance instance = pisinger(Family::kUncorrelated, n, 1000000, 1, 1);
    const std::vector<Item>& items = instance.items;
    const std::int64_t capacity = instance.capacity;
    Selection answers[3];
    double best[3];
    std::fill(std::begin(best), std::end(best), std::numeric_limits<double>::infinity());
    for (int round = 0; round < 3; ++round) {
      best[0] = std::min(best[0], cpu_seconds([&] { answers[0] = greedy(items, capacity).value(); }));
      best[1] = std::min(best[1], cpu_seconds([&] { answers[1] = xdp(items, capacity).value(); }));
      best[2] = std::min(best[2], cpu_seconds([&] { answers[2] = solve(items, capacity).value(); }));
    }
    fmt::print("{:>9} {:>9}", n, answers[2].items.size());
    for (int k = 0; k < 3; ++k) {
      fmt::print(" {:>10.2f} {:>10.1e}", 1e3 * best[k], error(answers[k].profit, answers[k].upper_bound));
    }
    fmt::print("\n");
  }
}

using Layers = std::vector<std::vector<Choice>>;

/// From keeping everything to recomputing everything: four choices of falling bytes and rising nanoseconds.
Layers layers_of(std::size_t n, bool equal, std::mt19937_64& random) {
  const auto draw = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const auto layer = [&] {
    std::vector<Choice> choices;
    double cost = 0;
    double memory = 3e8 * draw(0.5, 2);
    for (int c = 0; c < 4; ++c) {
      choices.push_back({std::llround(cost), std::llround(memory)});
      memory *= draw(0.3, 0.8);
      cost += 1e6 * draw(0.5, 2);
    }
    return choices;
  };
  Layers layers(n, layer());
  if (!equal) std::generate(layers.begin(), layers.end(), layer);
  return layers;
}

/// Memory of the cheapest assignment under memory rounded to 1/steps of the budget; 0 when there is none.
std::int64_t rounded_table(const Layers& layers, std::int64_t budget, int steps) {
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max() / 2;
  const auto rounded = [&](const Choice& choice) {
    return static_cast<int>(
        std::lround(static_cast<double>(choice.memory) / static_cast<double>(budget) * steps));
  };
  std::vector<std::int64_t> cost(static_cast<std::size_t>(steps) + 1, 0);
  std::vector<std::vector<std::uint8_t>> chosen(layers.size(), std::vector<std::uint8_t>(cost.size()));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    std::vector<std::int64_t> next(cost.size(), kNone);
    for (std::size_t c = 0; c < layers[l].size(); ++c) {
      const int size = rounded(layers[l][c]);
      for (int m = size; m <= steps; ++m) {
        const std::int64_t candidate = cost[m - size] + layers[l][c].cost;
        if (candidate >= next[m]) continue;
        next[m] = candidate;
        chosen[l][m] = static_cast<std::uint8_t>(c);
      }
    }
    cost.swap(next);
  }
  if (cost[steps] >= kNone) return 0;
  std::int64_t memory = 0;
  for (int m = steps; !chosen.empty(); chosen.pop_back()) {
    const Choice& choice = layers[chosen.size() - 1][chosen.back()[m]];
    memory += choice.memory;
    m -= rounded(choice);
  }
  return memory;
}

void layers() {
  constexpr int kInstances = 10;
  fmt::print("ms of CPU; over: by how much the rounded table's choice exceeds the budget\n");
  fmt::print("{:>7} {:<9} {:>7} {:>9} {:>9} {:>9} {:>12} {:>8} {:>9}\n", "layers", "kind", "proven",
             "mean ms", "worst ms", "table ms", "table/ours", "over", "worst");
  for (const bool equal : {true, false}) {
    for (const std::size_t n : {std::size_t{32}, std::size_t{80}, std::size_t{128}, std::size_t{1000}}) {
      double ours = 0, worst = 0, table = 0, worst_over = 0;
      int proven = 0;
      int over = 0;
      for (int k = 1; k <= kInstances; ++k) {
        std::mt19937_64 random(n * 100 + static_cast<std::size_t>(k));
        const Layers layers = layers_of(n, equal, random);
        std::int64_t most = 0, least = 0;
        for (const auto& layer : layers) {
          most += layer.front().memory;
          least += layer.back().memory;
        }
        const std::int64_t budget = least + (most - least) / (kInstances + 1) * k;
        Assignment assignment;
        const double seconds =
            cpu_seconds([&] { assignment = solve_multiple_choice(layers, budget).value(); });
        if (assignment.memory > budget) fmt::print("WRONG: over the budget\n");
        ours += seconds;
        worst = std::max(worst, seconds);
        proven += assignment.proven() ? 1 : 0;
        std::int64_t memory = 0;
        table += cpu_seconds([&] { memory = rounded_table(layers, budget, 10000); });
        over += memory > budget ? 1 : 0;
        worst_over = std::max(worst_over, static_cast<double>(memory) / static_cast<double>(budget) - 1);
      }
      fmt::print("{:>7} {:<9} {:>4}/{} {:>9.3f} {:>9.3f} {:>9.1f} {:>12.0f} {:>5}/{} {:>7.2f} %\n", n,
                 equal ? "equal" : "different", proven, kInstances, 1e3 * ours / kInstances, 1e3 * worst,
                 1e3 * table / kInstances, table / ours, over, kInstances, 100 * worst_over);
    }
  }
}

}  // namespace
}  // namespace tessera::knapsack

int main(int argc, char** argv) {
  const std::string_view what = argc == 2 ? argv[1] : "";
  if (what == "families") {
    tessera::knapsack::families();
  } else if (what == "ranges") {
    tessera::knapsack::ranges();
  } else if (what == "sizes") {
    tessera::knapsack::sizes();
  } else if (what == "layers") {
    tessera::knapsack::layers();
  } else {
    std::fputs("usage: knapsack-bench families|ranges|sizes|layers\n", stderr);
    return 2;
  }
}
