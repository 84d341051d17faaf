/// Dynamic program over deviations from a base solution, pruned by bounds, thinned above a state limit.
///
/// A group is one decision (take an item or not; which choice a layer makes). Its changes are the
/// alternatives to what the base decided; a selection makes at most one of them. With gains in scaled profit
///
///   q = profit_scale * profit - count_price * count
///
/// the base must be optimal at the price: loss = weight * price.num - q * price.den >= 0 for each change.
/// Groups are processed by rising loss (the least of their changes).
///
/// A state is a choice for the groups behind; the others stay at the base. It is dropped when it is
///   dominated      another state is no heavier and has at least its profit
///   bounded        its own profit is already recorded, so an improvement deviates once more. It gains at
///   most
///                    q + count_price * count_room + slack * e
///                  for e = the best q per weight still to come (slack >= 0) or the cheapest way back (< 0),
///                  and for e = price, less the loss of the next group
///   thinned        more than max_states are left: the state with the greatest bound stays of each of
///                  max_states intervals of slack. The greatest bound given up limits what was missed.
///
/// State limits rise in steps of 8 up to max_states: most cores are settled by a small one, and the next step
/// starts from a better incumbent.
///
/// Result         the best selection met, and a bound on the gain of every selection whose count change is
///                at most (count_price > 0) or at least (count_price < 0) count_room.
/// Requires       weight != 0 in each change, slack >= 0 for the base, all sums below 2^62 in magnitude.
/// Source         Pisinger 1995 and 1997 (mcknap, minknap): states around a break solution.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/ratio.h"

namespace tessera::knapsack {

struct Change {
  std::int64_t weight = 0;  // relative to the base, as the other two
  std::int64_t profit = 0;
  std::int32_t count = 0;
  std::uint32_t id = 0;  // the caller's
};

struct Core {
  std::vector<Change> changes;             // group after group
  std::vector<std::uint32_t> group_begin;  // where each group starts, and the end
  Ratio price;                             // scaled profit per weight
  std::int64_t profit_scale = 1;
  std::int64_t count_price = 0;
  std::int64_t count_room = 0;
  std::int64_t slack = 0;  // capacity left by the base
};

/// What a change loses at the price, in units of 1 / price.den of scaled profit; >= 0 by the base's
/// optimality.
[[nodiscard]] inline Int128 loss_of(const Core& core, const Change& change) {
  const std::int64_t q = core.profit_scale * change.profit - core.count_price * change.count;
  return Int128{change.weight} * core.price.num - Int128{q} * core.price.den;
}

/// The loss, in the same units, that a selection with more than `gain` can have: changes above it need no
/// look.
[[nodiscard]] inline Int128 lead_of(const Core& core, std::int64_t gain) {
  const std::int64_t q = core.count_price * core.count_room - core.profit_scale * (gain + 1);
  return Int128{core.slack} * core.price.num + Int128{q} * core.price.den;
}

struct CoreAnswer {
  bool improved = false;             // beyond the incumbent
  std::int64_t gain = 0;             // over the base
  std::int64_t bound = 0;            // on the gain
  std::vector<std::uint32_t> taken;  // ids of the changes, if improved
  std::int64_t work = 0;             // states made
};

/// The state limit to begin with.
inline constexpr std::int64_t kFirstStates = 1 << 10;

/// `incumbent`: a gain that is known to be reached; `ceiling`: one that is known not to be passed.
CoreAnswer run_core(const Core& core, std::int64_t incumbent, std::int64_t ceiling, const Limits& limits,
                    std::int64_t first_states = kFirstStates);

}  // namespace tessera::knapsack
