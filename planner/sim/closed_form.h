/// The analytic iteration time of one group, which the search minimises (AutoHet notes, 2.3):
///
///   u_s = forward + backward seconds of stage s, q_s = one-way transfer seconds across boundary s
///   period = max over windows s <= t of (sum_{s<=r<=t} u_r + 2 sum_{s<=r<t} q_r) / (t - s + 1)
///   T(m)   = sum_s u_s + 2 sum_s q_s + (m - 1) * period
///
/// Stage s holds t - s more micro-batches than stage t, so its micro-batches cannot come faster than their
/// way to t and back divided by t - s + 1. The notes' form has the windows that end at the last stage only;
/// the others count where stages in the middle are the slow ones. Accuracy against the event simulator:
/// docs/planner.md; it is not a bound on it.
#pragma once

#include "planner/sim/iteration.h"

namespace tessera::planner::sim {

/// q_s is the mean of the activation's and the gradient's transfer.
[[nodiscard]] double closed_form_s(const Group& group);
/// With the windows that end at the last stage, as in the notes.
[[nodiscard]] double round_trip_form_s(const Group& group);
/// The usual form, with max_s u_s for the period.
[[nodiscard]] double bottleneck_form_s(const Group& group);

}  // namespace tessera::planner::sim
