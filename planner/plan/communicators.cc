#include "planner/plan/communicators.h"

#include <algorithm>
#include <utility>

namespace tessera::planner {
namespace {

std::vector<std::vector<int>> owners_of_layer(const Plan& plan, int layer) {
  std::vector<std::vector<int>> owners;
  owners.reserve(plan.groups.size());
  for (const DeviceGroup& group : plan.groups) owners.push_back({stage_of_layer(group, layer)});
  return owners;
}

/// Layers at which some group begins a stage, rising; 0 is one of them.
std::vector<int> cuts(const Plan& plan) {
  std::vector<int> firsts;
  for (const DeviceGroup& group : plan.groups) {
    for (const Stage& stage : group.stages) firsts.push_back(stage.first_layer);
  }
  std::sort(firsts.begin(), firsts.end());
  firsts.erase(std::unique(firsts.begin(), firsts.end()), firsts.end());
  return firsts;
}

/// Collects groups of more than one rank.
class Collector {
 public:
  void begin(CommunicatorKind kind) {
    kind_ = kind;
    index_ = 0;
  }
  void add(std::vector<Rank> ranks) {
    if (ranks.size() > 1) groups_.push_back({kind_, index_, std::move(ranks)});
    ++index_;
  }
  void add_segment(int segment, std::vector<Rank> ranks) {
    index_ = segment;
    add(std::move(ranks));
  }
  [[nodiscard]] std::vector<CommunicatorGroup> take() { return std::move(groups_); }

 private:
  CommunicatorKind kind_ = CommunicatorKind::kTensor;
  int index_ = 0;
  std::vector<CommunicatorGroup> groups_;
};

/// Calls visit(group, stage, the stage's first rank).
template <class Visit>
void for_each_stage(const Plan& plan, const Visit& visit) {
  int base = 0;
  for (std::size_t group = 0; group < plan.groups.size(); ++group) {
    for (std::size_t stage = 0; stage < plan.groups[group].stages.size(); ++stage) {
      visit(static_cast<int>(group), static_cast<int>(stage), base);
      base += plan.stage_devices();
    }
  }
}

}  // namespace

std::vector<Segment> derive_segments(const Plan& plan) {
  std::vector<Segment> segments;
  const std::vector<int> firsts = cuts(plan);
  for (std::size_t i = firsts.size(); i-- > 0;) {
    Segment segment;
    segment.first_layer = firsts[i];
    segment.layers = (i + 1 < firsts.size() ? firsts[i + 1] : plan.layers) - firsts[i];
    segment.head = i + 1 == firsts.size();
    segment.embedding = i == 0 && !plan.tied_embeddings;
    segment.owners = owners_of_layer(plan, firsts[i]);
    segments.push_back(std::move(segment));
  }
  if (plan.tied_embeddings) {
    Segment tied;
    tied.embedding = true;
    tied.tied = true;
    for (const DeviceGroup& group : plan.groups) {
      const int last = static_cast<int>(group.stages.size()) - 1;
      tied.owners.push_back(last > 0 ? std::vector<int>{0, last} : std::vector<int>{0});
    }
    segments.push_back(std::move(tied));
  }
  return segments;
}

std::vector<CommunicatorGroup> derive_communicators(const Plan& plan) {
  const int cells = plan.context.ranks();
  const int degree = plan.tensor_parallel;
  Collector collector;
  collector.begin(CommunicatorKind::kTensor);
  for_each_stage(plan, [&](int, int, int base) {
    for (int cell = 0; cell < cells; ++cell) {
      std::vector<Rank> ranks;
      for (int tensor = 0; tensor < degree; ++tensor) ranks.emplace_back(base + cell * degree + tensor);
      collector.add(std::move(ranks));
    }
  });
  collector.begin(CommunicatorKind::kContext);
  for_each_stage(plan, [&](int, int, int base) {
    for (int tensor = 0; tensor < degree; ++tensor) {
      std::vector<Rank> ranks;
      for (int cell = 0; cell < cells; ++cell) ranks.emplace_back(base + cell * degree + tensor);
      collector.add(std::move(ranks));
    }
  });
  std::vector<std::vector<int>> bases(plan.groups.size());  // of each stage, the first rank
  for_each_stage(plan,
                 [&](int group, int, int base) { bases[static_cast<std::size_t>(group)].push_back(base); });
  collector.begin(CommunicatorKind::kPipeline);
  for (const std::vector<int>& stages : bases) {
    for (int offset = 0; offset < plan.stage_devices(); ++offset) {
      std::vector<Rank> ranks;
      for (const int base : stages) ranks.emplace_back(base + offset);
      collector.add(std::move(ranks));
    }
  }
  collector.begin(CommunicatorKind::kSegment);
  const std::vector<Segment> segments = derive_segments(plan);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    for (int tensor = 0; tensor < degree; ++tensor) {
      std::vector<Rank> ranks;
      for (std::size_t group = 0; group < plan.groups.size(); ++group) {
        for (const int stage : segments[i].owners[group]) {
          const int base = bases[group][static_cast<std::size_t>(stage)];
          for (int cell = 0; cell < cells; ++cell) ranks.emplace_back(base + cell * degree + tensor);
        }
      }
      collector.add_segment(static_cast<int>(i), std::move(ranks));
    }
  }
  return collector.take();
}

}  // namespace tessera::planner
