#include "algos/knapsack/multiple_choice.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>

#include "algos/knapsack/core_dp.h"
#include "algos/knapsack/prepare.h"

namespace tessera::knapsack {
namespace {

using Layers = std::span<const std::vector<Choice>>;

Status layer_error(std::size_t layer, const std::string& field, const std::string& found,
                   const char* expected, const char* remedy) {
  return bad_input({"knapsack", "layers[" + std::to_string(layer) + "]" + field, found, expected, remedy});
}

std::string field_of(std::size_t choice, const char* name) {
  return "[" + std::to_string(choice) + "]" + name;
}

Status check(Layers layers, std::int64_t budget) {
  if (budget < 0) {
    return bad_input({"knapsack", "budget", std::to_string(budget), "an integer >= 0",
                      "give the budget in the unit of memory"});
  }
  std::int64_t costs = 0;
  std::int64_t memories = 0;
  std::size_t choices = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].empty()) {
      return layer_error(l, "", "no choices", "at least one", "leave out a layer that decides nothing");
    }
    std::int64_t cost = 0;
    std::int64_t memory = 0;
    for (std::size_t c = 0; c < layers[l].size(); ++c) {
      const Choice& choice = layers[l][c];
      if (choice.cost < 0) {
        return layer_error(l, field_of(c, ".cost"), std::to_string(choice.cost), "an integer >= 0",
                           "add a constant to all costs of the layer");
      }
      if (choice.memory < 0) {
        return layer_error(l, field_of(c, ".memory"), std::to_string(choice.memory), "an integer >= 0",
                           "add a constant to all memories of the layer and to the budget");
      }
      cost = std::max(cost, choice.cost);
      memory = std::max(memory, choice.memory);
    }
    if (cost >= kSumLimit - costs) {
      return layer_error(l, ".cost", std::to_string(cost), "a sum over the layers below 2^62",
                         "measure cost in a larger unit");
    }
    if (memory >= kSumLimit - memories) {
      return layer_error(l, ".memory", std::to_string(memory), "a sum over the layers below 2^62",
                         "measure memory in a larger unit, rounded up");
    }
    costs += cost;
    memories += memory;
    choices += layers[l].size();
    if (choices > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
      return bad_input(
          {"knapsack", "layers", "more than 2147483647 choices", "at most 2147483647", "split the problem"});
    }
  }
  return {};
}

/// Positions of the choices that no other one of the layer beats in both: memory rises, cost falls.
std::vector<std::uint32_t> undominated(const std::vector<Choice>& choices) {
  std::vector<std::uint32_t> order(choices.size());
  for (std::uint32_t c = 0; c < order.size(); ++c) order[c] = c;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return choices[a].memory != choices[b].memory ? choices[a].memory < choices[b].memory
                                                  : choices[a].cost < choices[b].cost;
  });
  std::size_t kept = 0;
  for (const std::uint32_t c : order) {
    if (kept == 0 || choices[c].cost < choices[order[kept - 1]].cost) order[kept++] = c;
  }
  order.resize(kept);
  return order;
}

Ratio saving(const Choice& from, const Choice& to) { return {from.cost - to.cost, to.memory - from.memory}; }

/// Those of `rising` on the lower convex hull of (memory, cost): each step saves strictly less per byte.
std::vector<std::uint32_t> convex_hull(const std::vector<Choice>& choices,
                                       const std::vector<std::uint32_t>& rising) {
  std::vector<std::uint32_t> hull;
  for (const std::uint32_t c : rising) {
    while (hull.size() >= 2) {
      const Choice& before = choices[hull[hull.size() - 2]];
      const Choice& last = choices[hull.back()];
      if (greater(saving(before, last), saving(last, choices[c]))) break;
      hull.pop_back();
    }
    hull.push_back(c);
  }
  return hull;
}

/// A choice of a layer, as a change from another one.
struct Move {
  std::uint32_t layer;
  std::uint32_t to;
};

/// The linear relaxation: all layers at their least memory, then steps along their hulls by falling saving
/// per byte. `base` is what its whole steps choose.
struct Relaxation {
  std::vector<std::vector<std::uint32_t>> open;  // undominated choices of each layer
  std::vector<std::uint32_t> base;
  BreakSolution split;
};

Result<Relaxation> relax(Layers layers, std::int64_t budget) {
  Relaxation relaxation;
  std::vector<Move> steps;
  std::vector<Entry> entries;
  std::int64_t least_memory = 0;
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    relaxation.open.push_back(undominated(layers[l]));
    const std::vector<std::uint32_t> hull = convex_hull(layers[l], relaxation.open.back());
    relaxation.base.push_back(hull.front());
    least_memory += layers[l][hull.front()].memory;
    for (std::size_t i = 1; i < hull.size(); ++i) {
      const Ratio step = saving(layers[l][hull[i - 1]], layers[l][hull[i]]);
      entries.push_back({step.num, step.den, static_cast<std::uint32_t>(steps.size())});
      steps.push_back({l, hull[i]});
    }
  }
  if (least_memory > budget) {
    return bad_input(
        {"knapsack", "budget", std::to_string(budget), "at least " + std::to_string(least_memory),
         "raise the budget, or offer the layers smaller choices"},
        Code::kResourceExhausted);
  }
  relaxation.split = split_at_break(entries, budget - least_memory);
  // The steps of one layer save less and less per byte, so those taken are its first ones.
  for (const Entry& entry : std::span(entries).first(relaxation.split.taken)) {
    const auto [layer, to] = steps[entry.item];
    std::uint32_t& base = relaxation.base[layer];
    if (layers[layer][to].memory > layers[layer][base].memory) base = to;
  }
  return relaxation;
}

Change change_of(Layers layers, const Relaxation& relaxation, Move move) {
  const Choice& from = layers[move.layer][relaxation.base[move.layer]];
  const Choice& to = layers[move.layer][move.to];
  return {to.memory - from.memory, from.cost - to.cost, 0, 0};
}

template <class Visit>
void for_each_move(const Relaxation& relaxation, std::uint32_t layer, Visit visit) {
  for (const std::uint32_t to : relaxation.open[layer]) {
    if (to != relaxation.base[layer]) visit(Move{layer, to});
  }
}

}  // namespace

Result<Assignment> solve_multiple_choice(Layers layers, std::int64_t budget, const Limits& limits) {
  if (Status status = check(limits); !status.ok()) return status;
  if (Status status = check(layers, budget); !status.ok()) return status;
  const Relaxation relaxation = TS_TRY(relax(layers, budget));
  const auto count = static_cast<std::uint32_t>(layers.size());

  // The incumbent: the base, or the one move from it that saves most and fits.
  std::int64_t incumbent = 0;
  std::vector<Move> taken;
  for (std::uint32_t l = 0; l < count; ++l) {
    for_each_move(relaxation, l, [&](Move move) {
      const Change change = change_of(layers, relaxation, move);
      if (change.weight > relaxation.split.slack || change.profit <= incumbent) return;
      incumbent = change.profit;
      taken = {move};
    });
  }

  Core core;
  core.price = relaxation.split.price;
  core.slack = relaxation.split.slack;
  const Int128 lead = lead_of(core, incumbent);
  std::vector<Move> moves;  // by id
  for (std::uint32_t l = 0; l < count; ++l) {
    const auto group = static_cast<std::uint32_t>(core.changes.size());
    for_each_move(relaxation, l, [&](Move move) {
      Change change = change_of(layers, relaxation, move);
      if (loss_of(core, change) > lead) return;
      change.id = static_cast<std::uint32_t>(moves.size());
      core.changes.push_back(change);
      moves.push_back(move);
    });
    if (core.changes.size() > group) core.group_begin.push_back(group);
  }
  core.group_begin.push_back(static_cast<std::uint32_t>(core.changes.size()));

  const std::int64_t ceiling = upper_bound(relaxation.split) - relaxation.split.profit;
  const CoreAnswer answer = run_core(core, incumbent, ceiling, limits);
  if (answer.improved) {
    taken.clear();
    for (const std::uint32_t id : answer.taken) taken.push_back(moves[id]);
  }
  Assignment assignment;
  assignment.choice = relaxation.base;
  for (const auto& [layer, to] : taken) assignment.choice[layer] = to;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    assignment.cost += layers[l][assignment.choice[l]].cost;
    assignment.memory += layers[l][assignment.choice[l]].memory;
  }
  assignment.lower_bound = assignment.cost - (answer.bound - answer.gain);
  return assignment;
}

}  // namespace tessera::knapsack
