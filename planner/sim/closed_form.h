/// The analytic iteration time of one group, which the search minimises (AutoHet notes, 2.3):
///
///   u_s = forward + backward seconds of stage s, q_s = one-way transfer seconds across boundary s
///   period = max( max_s u_s , max_s (sum_{r>=s} u_r + 2 sum_{r>=s} q_r) / (P - s) )
///   T(m)   = sum_s u_s + 2 sum_s q_s + (m - 1) * period
///
/// The second term of the period is the 1F1B round trip: a stage holds at most P - s micro-batches, so it
/// cannot go faster than their way through the later stages and back. Against the event simulator the form is
/// within about 3 % for balanced stages and 5 % for uneven ones (docs/planner.md); it is not a bound on it.
#pragma once

#include "planner/sim/iteration.h"

namespace tessera::planner::sim {

/// q_s is the mean of the activation's and the gradient's transfer.
[[nodiscard]] double round_trip_period_s(const Group& group);
[[nodiscard]] double closed_form_s(const Group& group);
/// The usual form, with max_s u_s for the period.
[[nodiscard]] double bottleneck_form_s(const Group& group);

}  // namespace tessera::planner::sim
