#include "planner/search/stage_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algos/knapsack/multiple_choice.h"

namespace tessera::planner {
namespace {
constexpr double kNever = std::numeric_limits<double>::infinity();
}

StageChooser::StageChooser(const CostModel& cost, const StageShape& shape, DeviceClass device,
                           std::int64_t owners, std::vector<Recompute> allowed)
    : allowed_(std::move(allowed)),
      embedding_(cost.embedding(device, shape)),
      head_(cost.head(device, shape, false)),
      only_head_(cost.head(device, shape, true)),
      state_bytes_(cost.state_bytes_per_parameter(owners)),
      capacity_(cost.capacity_bytes(device)) {
  const int layers = cost.identical_layers() ? 1 : cost.model().layers;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    auto& row = layers_.emplace_back();
    for (int i = 0; i < layers; ++i) row.push_back(cost.decoder(device, shape, i, recompute));
  }
  for (const bool first : {false, true}) {
    for (const bool last : {false, true}) {
      edge_bytes_[first ? 1 : 0][last ? 1 : 0] = cost.edge_activation_bytes(shape, first, last);
    }
  }
}

const LayerCost& StageChooser::layer(int index, Recompute recompute) const {
  const auto& row = layers_[static_cast<std::size_t>(recompute)];
  return row.size() == 1 ? row.front() : row[static_cast<std::size_t>(index)];
}

double StageChooser::fixed_bytes(int first, int count, bool embedding, bool head,
                                 std::int64_t in_flight) const {
  double parameters = 0;
  double workspace = 0;
  for (int i = first; i < first + count; ++i) {
    const LayerCost& cost = layer(i, Recompute::kNone);
    parameters += cost.parameters;
    workspace = std::max(workspace, cost.workspace_bytes);
  }
  double activations = edge_bytes_[embedding ? 1 : 0][head ? 1 : 0];
  const auto add = [&](const LayerCost& cost) {
    parameters += cost.parameters;
    workspace = std::max(workspace, cost.workspace_bytes);
    activations += cost.activation_bytes;
  };
  if (embedding) add(embedding_);
  if (head) add(embedding ? only_head_ : head_);
  return parameters * state_bytes_ + workspace + static_cast<double>(in_flight) * activations;
}

double StageChooser::bytes(int first, int count, bool embedding, bool head, std::int64_t in_flight,
                           Recompute recompute) const {
  double bytes = fixed_bytes(first, count, embedding, head, in_flight);
  double again = 0;
  for (int i = first; i < first + count; ++i) {
    bytes += static_cast<double>(in_flight) * layer(i, recompute).activation_bytes;
    again =
        std::max(again, layer(i, Recompute::kNone).activation_bytes - layer(i, recompute).activation_bytes);
  }
  return bytes + again;
}

std::optional<StageFit> StageChooser::choose_alike(int count, double flights, double room) const {
  struct Kind {
    double bytes = 0;
    double seconds = 0;
    double again = 0;
  };
  const auto kind = [&](Recompute recompute) {
    const LayerCost& cost = layer(0, recompute);
    return Kind{flights * cost.activation_bytes, cost.forward_s + cost.backward_s,
                layer(0, Recompute::kNone).activation_bytes - cost.activation_bytes};
  };
  // One kind, or two of which the cheaper fills what the other leaves: an optimum with three exists only when
  // it fills the room better, so the number of full ones is tried out.
  const bool none = std::find(allowed_.begin(), allowed_.end(), Recompute::kNone) != allowed_.end();
  const bool selective = std::find(allowed_.begin(), allowed_.end(), Recompute::kSelective) != allowed_.end();
  const bool full = std::find(allowed_.begin(), allowed_.end(), Recompute::kFull) != allowed_.end();
  const Kind keep = kind(Recompute::kNone);
  const Kind part = kind(Recompute::kSelective);
  const Kind all = kind(Recompute::kFull);
  double least = kNever;
  int best_full = 0;
  int best_part = 0;
  const double quickest = std::min({keep.seconds, part.seconds, all.seconds});
  for (int fulls = 0; fulls <= (full ? count : 0); ++fulls) {
    if (fulls * all.seconds + (count - fulls) * quickest >= least) continue;
    // Fewer partial ones than this leave too little room, whatever they hold while they compute again.
    const double over = fulls * all.bytes + (count - fulls) * keep.bytes - room;
    const double saved = keep.bytes - part.bytes;
    const int skipped = over > 0 && saved > 0 ? static_cast<int>(std::min(over / saved, 1e9)) : 0;
    for (int parts = skipped; parts <= (selective ? count - fulls : 0); ++parts) {
      const int keeps = count - fulls - parts;
      if (keeps > 0 && !none) continue;
      const double again = std::max(fulls > 0 ? all.again : 0, parts > 0 ? part.again : 0);
      if (fulls * all.bytes + parts * part.bytes + keeps * keep.bytes + again > room) continue;
      const double seconds = fulls * all.seconds + parts * part.seconds + keeps * keep.seconds;
      if (seconds < least) {
        least = seconds;
        best_full = fulls;
        best_part = parts;
      }
      break;  // more partial ones only take longer
    }
  }
  if (least == kNever) return std::nullopt;
  StageFit best;
  best.seconds = least;
  best.recompute.assign(static_cast<std::size_t>(best_full), Recompute::kFull);
  best.recompute.insert(best.recompute.end(), static_cast<std::size_t>(best_part), Recompute::kSelective);
  best.recompute.resize(static_cast<std::size_t>(count), Recompute::kNone);
  return best;
}

std::optional<StageFit> StageChooser::choose(int first, int count, double flights, double room) const {
  StageFit best;
  double kept = 0;
  for (int i = first; i < first + count; ++i) {
    kept += flights * layer(i, Recompute::kNone).activation_bytes;
    best.seconds += layer(i, Recompute::kNone).forward_s + layer(i, Recompute::kNone).backward_s;
  }
  // Without recomputation first: it is the fastest, and needs no buffers for what is computed again.
  if (kept <= room && std::find(allowed_.begin(), allowed_.end(), Recompute::kNone) != allowed_.end()) {
    best.recompute.assign(static_cast<std::size_t>(count), Recompute::kNone);
    return best;
  }
  double again = 0;
  for (int i = first; i < first + count; ++i) {
    for (const Recompute recompute : allowed_) {
      again =
          std::max(again, layer(i, Recompute::kNone).activation_bytes - layer(i, recompute).activation_bytes);
    }
  }
  if (again > room) return std::nullopt;
  // Bytes round up and the budget down, so that what fits here fits; picoseconds are finer than any estimate.
  constexpr double kTicks = 1e12;
  std::vector<std::vector<knapsack::Choice>> choices;
  for (int i = first; i < first + count; ++i) {
    auto& row = choices.emplace_back();
    for (const Recompute recompute : allowed_) {
      const LayerCost& cost = layer(i, recompute);
      row.push_back({std::llround((cost.forward_s + cost.backward_s) * kTicks),
                     static_cast<std::int64_t>(std::ceil(flights * cost.activation_bytes))});
    }
  }
  const auto solved = knapsack::solve_multiple_choice(choices, static_cast<std::int64_t>(room - again));
  if (!solved.ok()) return std::nullopt;
  best = {};
  for (int i = 0; i < count; ++i) {
    const Recompute recompute = allowed_[solved->choice[static_cast<std::size_t>(i)]];
    const LayerCost& cost = layer(first + i, recompute);
    best.seconds += cost.forward_s + cost.backward_s;
    best.recompute.push_back(recompute);
  }
  return best;
}

std::optional<StageFit> StageChooser::fit(int first, int count, bool embedding, bool head,
                                          std::int64_t in_flight) const {
  const auto flights = static_cast<double>(in_flight);
  const double room = capacity_ - fixed_bytes(first, count, embedding, head, in_flight);
  if (room < 0) return std::nullopt;
  std::optional<StageFit> best =
      layers_.front().size() == 1 ? choose_alike(count, flights, room) : choose(first, count, flights, room);
  if (!best) return std::nullopt;
  const auto add = [&](const LayerCost& cost) { best->seconds += cost.forward_s + cost.backward_s; };
  if (embedding) add(embedding_);
  if (head) add(embedding ? only_head_ : head_);
  return best;
}

}  // namespace tessera::planner
