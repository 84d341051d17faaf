#include "runtime/parallel/job_groups.h"

#include <algorithm>
#include <utility>

#include "algos/base/require.h"

namespace tessera::runtime {

JobGroups make_job_groups(Communicator& world, const planner::Plan& plan) {
  TS_REQUIRE(world.size() == plan.ranks(), world.size(), plan.ranks());
  JobGroups groups;
  const int rank = world.rank().value;
  groups.place = planner::rank_places(plan)[static_cast<std::size_t>(rank)];
  const planner::RankPlace& place = groups.place;
  const auto peer = [&](int stage) {
    return planner::rank_of(plan, place.group, stage, place.cell, place.tensor);
  };
  const int stages = static_cast<int>(plan.groups[static_cast<std::size_t>(place.group)].stages.size());
  if (place.stage > 0) groups.previous = peer(place.stage - 1);
  if (place.stage + 1 < stages) groups.next = peer(place.stage + 1);

  // A color is the first rank of the group: no two groups share it.
  const int stage_base = planner::rank_of(plan, place.group, place.stage, 0, 0).value;
  groups.context = world.split(stage_base + place.tensor, place.cell);
  const int cell_base = planner::rank_of(plan, place.group, place.stage, place.cell, 0).value;
  if (plan.tensor_parallel > 1) groups.tensor = world.split(cell_base, place.tensor);

  std::vector<std::pair<std::vector<std::vector<int>>, std::shared_ptr<Communicator>>> by_owners;
  for (planner::Segment& segment : planner::derive_segments(plan)) {
    const auto& own = segment.owners[static_cast<std::size_t>(place.group)];
    const bool member = std::ranges::find(own, place.stage) != own.end();
    auto known = std::ranges::find(by_owners, segment.owners, [](const auto& entry) { return entry.first; });
    if (known == by_owners.end()) {
      // Everyone splits, in the plan's order; who is no owner falls into a group that nobody uses.
      const int color = member ? place.tensor : plan.tensor_parallel;
      by_owners.emplace_back(segment.owners, world.split(color, rank));
      known = by_owners.end() - 1;
    }
    if (member) groups.segments.push_back({std::move(segment), known->second});
  }
  return groups;
}

}  // namespace tessera::runtime
