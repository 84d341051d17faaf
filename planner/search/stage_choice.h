/// One stage on one class of devices: whether it fits, with which recomputation, and how long it takes.
///
/// Each layer keeps, recomputes selectively or recomputes in full; the cheapest choice within the memory left
/// is a multiple-choice knapsack (algos/knapsack/multiple_choice.h). Two recomputing layers share the buffers
/// of what is computed again, so "some layer recomputes" costs memory once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "planner/cost/cost.h"
#include "planner/search/unit_pool.h"

namespace tessera::planner {

struct StageFit {
  double seconds = 0;                // forward + backward of one micro-batch
  std::vector<Recompute> recompute;  // of each layer
};

class StageChooser {
 public:
  /// `owners`: D * C, over which the optimizer states are spread. `allowed`: what a layer may do, cheapest
  /// first.
  StageChooser(const CostModel& cost, const StageShape& shape, DeviceClass device, std::int64_t owners,
               std::vector<Recompute> allowed);

  /// Layers [first, first + count) with `in_flight` micro-batches; nullopt: does not fit.
  [[nodiscard]] std::optional<StageFit> fit(int first, int count, bool embedding, bool head,
                                            std::int64_t in_flight) const;
  /// Bytes with nothing recomputed, and the least with recomputation, for complaints.
  [[nodiscard]] double bytes(int first, int count, bool embedding, bool head, std::int64_t in_flight,
                             Recompute recompute) const;
  [[nodiscard]] double capacity() const { return capacity_; }

 private:
  [[nodiscard]] const LayerCost& layer(int index, Recompute recompute) const;
  /// The cheapest choices for `count` layers in `room` bytes: by counting where all are alike, else by
  /// knapsack.
  [[nodiscard]] std::optional<StageFit> choose_alike(int count, double flights, double room) const;
  [[nodiscard]] std::optional<StageFit> choose(int first, int count, double flights, double room) const;
  /// Everything but the layers' kept activations and the workspace of recomputation.
  [[nodiscard]] double fixed_bytes(int first, int count, bool embedding, bool head,
                                   std::int64_t in_flight) const;

  std::vector<Recompute> allowed_;
  std::vector<std::vector<LayerCost>> layers_;  // [recompute][layer], one layer if all are alike
  LayerCost embedding_;
  LayerCost head_;
  LayerCost only_head_;           // of a stage that has the embedding too
  double edge_bytes_[2][2] = {};  // [first][last]
  double state_bytes_ = 0;        // per parameter
  double capacity_ = 0;
};

}  // namespace tessera::planner
