#include "planner/sim/closed_form.h"

#include <algorithm>

namespace tessera::planner::sim {
namespace {

double bottleneck_s(const Group& group) {
  double most = 0;
  for (const Stage& stage : group.stages) most = std::max(most, stage.forward_s + stage.backward_s);
  return most;
}

/// From stage s to stage t and back.
double round_trip_s(const Group& group, std::size_t s, std::size_t t) {
  double sum = 0;
  for (std::size_t r = s; r <= t; ++r) {
    const Stage& stage = group.stages[r];
    sum += stage.forward_s + stage.backward_s;
    if (r < t) sum += stage.send_activation.seconds + group.stages[r + 1].send_gradient.seconds;
  }
  return sum;
}

double form_s(const Group& group, double period_s) {
  return round_trip_s(group, 0, group.stages.size() - 1) + (group.micro_batches - 1) * period_s;
}

double window_s(const Group& group, std::size_t s, std::size_t t) {
  return round_trip_s(group, s, t) / static_cast<double>(t - s + 1);
}

}  // namespace

double closed_form_s(const Group& group) {
  double period = 0;
  for (std::size_t s = 0; s < group.stages.size(); ++s) {
    for (std::size_t t = s; t < group.stages.size(); ++t) period = std::max(period, window_s(group, s, t));
  }
  return form_s(group, period);
}

double round_trip_form_s(const Group& group) {
  double period = bottleneck_s(group);
  for (std::size_t s = 0; s < group.stages.size(); ++s) {
    period = std::max(period, window_s(group, s, group.stages.size() - 1));
  }
  return form_s(group, period);
}

double bottleneck_form_s(const Group& group) { return form_s(group, bottleneck_s(group)); }

}  // namespace tessera::planner::sim
