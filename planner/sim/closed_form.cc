#include "planner/sim/closed_form.h"

#include <algorithm>

namespace tessera::planner::sim {
namespace {

double bottleneck_s(const Group& group) {
  double most = 0;
  for (const Stage& stage : group.stages) most = std::max(most, stage.forward_s + stage.backward_s);
  return most;
}

/// sum_{r >= s} u_r + 2 sum_{r >= s} q_r
double round_trip_s(const Group& group, std::size_t s) {
  double sum = 0;
  for (std::size_t r = s; r < group.stages.size(); ++r) {
    const Stage& stage = group.stages[r];
    sum += stage.forward_s + stage.backward_s;
    if (r + 1 < group.stages.size()) {
      sum += stage.send_activation.seconds + group.stages[r + 1].send_gradient.seconds;
    }
  }
  return sum;
}

double form_s(const Group& group, double period_s) {
  return round_trip_s(group, 0) + (group.micro_batches - 1) * period_s;
}

}  // namespace

double round_trip_period_s(const Group& group) {
  double period = bottleneck_s(group);
  for (std::size_t s = 0; s < group.stages.size(); ++s) {
    period = std::max(period, round_trip_s(group, s) / static_cast<double>(group.stages.size() - s));
  }
  return period;
}

double closed_form_s(const Group& group) { return form_s(group, round_trip_period_s(group)); }

double bottleneck_form_s(const Group& group) { return form_s(group, bottleneck_s(group)); }

}  // namespace tessera::planner::sim
