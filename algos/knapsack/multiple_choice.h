/// One choice per layer under a memory budget: the least total cost, with a certificate.
///
///   minimise sum_l cost(l, x_l)   subject to   sum_l memory(l, x_l) <= budget,   x_l a choice of layer l
///
/// For which layers keep, recompute or offload their activations: a choice is (nanoseconds, bytes). Layers
/// may differ in their choices and in how many they have. Equal layers cost little: their states coincide.
///
/// Example        budget 10; each of three layers keeps (cost 0, 5 bytes) or recomputes (cost 2, 1 byte):
///                {keep, recompute, recompute}, cost 4, 7 bytes: proven, as two kept ones need 11.
/// Certificate    no assignment within the budget costs less than lower_bound; cost == lower_bound proves the
///                optimum. Never over budget, nothing is rounded.
/// Limits         0 <= cost, memory, budget; each layer's greatest cost sums to less than 2^62, and so does
/// each
///                layer's greatest memory; fewer than 2^31 choices in all.
/// Errors         kInvalidArgument names the layer, the choice and the field. kResourceExhausted: even the
///                smallest choices exceed the budget (the message says what they need). No layers: cost 0.
/// Cost           O(m log m) for m choices, then O(states) for each choice of a core layer, at most
///                Limits::max_work in all.
/// Source         Pisinger 1995 (mcknap), linear relaxation by Sinha & Zoltners 1979. Oracle: all
/// assignments,
///                and the table over all budgets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algos/base/status.h"
#include "algos/knapsack/knapsack.h"

namespace tessera::knapsack {

struct Choice {
  std::int64_t cost = 0;
  std::int64_t memory = 0;
};

struct Assignment {
  std::vector<std::uint32_t> choice;  // of each layer, a position in its list
  std::int64_t cost = 0;
  std::int64_t memory = 0;
  std::int64_t lower_bound = 0;  // no assignment within the budget costs less

  [[nodiscard]] bool proven() const { return cost == lower_bound; }
};

Result<Assignment> solve_multiple_choice(std::span<const std::vector<Choice>> layers, std::int64_t budget,
                                         const Limits& limits = {});

}  // namespace tessera::knapsack
