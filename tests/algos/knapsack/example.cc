#include <cstdio>

#include "algos/knapsack/multiple_choice.h"

int main() {
  // Three layers, 10 bytes: each keeps its activations (0 ns, 5 bytes) or recomputes them (2 ns, 1 byte).
  const std::vector<std::vector<tessera::knapsack::Choice>> layers(3, {{0, 5}, {2, 1}});
  const auto plan = tessera::knapsack::solve_multiple_choice(layers, 10).value();
  std::printf("cost %ld, memory %ld, %s\n", static_cast<long>(plan.cost), static_cast<long>(plan.memory),
              plan.proven() ? "proven" : "certified");
}
