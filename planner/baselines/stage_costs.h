/// Sums of layer costs, for trying very many layouts quickly: what one stage of a device class takes and
/// holds.
#pragma once

#include <map>
#include <vector>

#include "planner/cost/cost.h"

namespace tessera::planner {

/// Where a stage is and how many micro-batches it may hold.
struct StagePlace {
  int first_layer = 0;
  int layers = 0;
  bool first = false;
  bool last = false;
  double in_flight = 1;  // micro-batches
};

/// For one shape and one recomputation mode of all layers.
class StageCosts {
 public:
  StageCosts(const CostModel& cost, const StageShape& shape, Recompute recompute);

  /// Forward and backward seconds of one micro-batch.
  [[nodiscard]] double seconds(DeviceClass device, const StagePlace& place) const;
  /// Bytes of one device, without communication buffers.
  [[nodiscard]] double bytes(DeviceClass device, const StagePlace& place, std::int64_t owners) const;

 private:
  struct Sums {
    std::vector<LayerCost> before;  // of decoder layers 0 .. i-1, workspace the largest
    LayerCost embedding;
    LayerCost head;
    LayerCost lone_head;        // of a group of one stage
    double computed_again = 0;  // bytes that one layer at a time holds while it recomputes
  };
  const CostModel* cost_;
  StageShape shape_;
  std::map<DeviceClass, Sums> sums_;
};

}  // namespace tessera::planner
