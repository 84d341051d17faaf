/// CostModel: seconds and bytes of layers, messages and collectives on the devices of a cluster.
///
/// Analytic without a profile: matrix products at the achievable share of the peak, everything else at the
/// rate of the device's memory, collectives as rings over the slowest link. A profile's rows override what
/// they measure (planner/spec/profile.h); between two measured micro-batch sizes time and bytes are
/// interpolated linearly, outside them scaled from the nearest.
///
/// Memory    of one device, following the runtime's buffers (runtime/model/activations.h) with e bytes per
///           kept element:  static = parameters * (weight + gradient + optimizer / owners) bytes, where
///           fp32 is 4 + 4 + 8 and 16-bit formats 2 + 4 + 12; owners = D * C.
/// Source    AutoHet notes 2.3, 2.4, 4; activations: Korthikanti et al. 2022, arXiv:2205.05198; context mesh:
///           runtime/attention/volume.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/communicators.h"
#include "planner/plan/plan.h"
#include "planner/spec/cluster_spec.h"
#include "planner/spec/model_spec.h"
#include "planner/spec/profile.h"
#include "planner/spec/train_spec.h"

namespace tessera::planner {

/// fp32 with any CPU rank, else fp16 with any GPU that lacks bf16, else bf16.
[[nodiscard]] Precision default_precision(const ClusterSpec& cluster);

/// How a stage is divided, and what it holds at a time.
struct StageShape {
  int tensor_parallel = 1;
  MeshShape context;
  std::int64_t micro_batch = 1;
  bool operator==(const StageShape&) const = default;
};

/// A device as the cost model sees it: two nodes with equal classes compute alike.
struct DeviceClass {
  int type = 0;  // in ClusterSpec::types
  double speed = 1;
  auto operator<=>(const DeviceClass&) const = default;
};

/// One layer on one device of a stage.
struct LayerCost {
  double forward_s = 0;         // a micro-batch, with tensor-parallel and context exchange
  double backward_s = 0;        // with what is recomputed
  double update_s = 0;          // of all its parameters here, before sharding over owners
  double parameters = 0;        // held here
  double activation_bytes = 0;  // kept per micro-batch in flight
  double workspace_bytes = 0;   // while it computes
};

/// Who takes part in a collective.
struct CollectiveGroup {
  std::span<const DeviceSlot> members;
  /// Rings of equal members that run at the same time over the same links (tensor ranks reduce side by side).
  int concurrent = 1;
};

class CostModel {
 public:
  /// Keeps copies. `precision`: as the cluster suggests if not given.
  /// Errors    kInvalidArgument: a profile row whose context is no mesh.
  static Result<CostModel> create(const ModelSpec& model, const ClusterSpec& cluster, const TrainSpec& train,
                                  const std::optional<Profile>& profile = std::nullopt,
                                  std::optional<Precision> precision = std::nullopt);

  [[nodiscard]] const ModelSpec& model() const { return model_; }
  [[nodiscard]] const ClusterSpec& cluster() const { return cluster_; }
  [[nodiscard]] const TrainSpec& train() const { return train_; }
  [[nodiscard]] Precision precision() const { return precision_; }

  /// Whether the model can be divided so: heads, kv heads, vocabulary and intermediate width by the degrees.
  [[nodiscard]] Status check_shape(const StageShape& shape) const;

  [[nodiscard]] DeviceClass device_class(int node) const;
  [[nodiscard]] LayerCost decoder(DeviceClass device, const StageShape& shape, int layer,
                                  Recompute recompute) const;
  [[nodiscard]] LayerCost embedding(DeviceClass device, const StageShape& shape) const;
  /// Final norm, head and loss. With tied embeddings the matrix counts here as well; a group of one stage
  /// holds it once, which `only_stage` says.
  [[nodiscard]] LayerCost head(DeviceClass device, const StageShape& shape, bool only_stage) const;
  /// Whether decoder layers cost alike, each on its own device.
  [[nodiscard]] bool identical_layers() const { return identical_layers_; }

  /// Of a micro-batch in flight at the stage's edges: what comes in and goes out.
  [[nodiscard]] double edge_activation_bytes(const StageShape& shape, bool first, bool last) const;
  /// Of a device, for the job.
  [[nodiscard]] double capacity_bytes(DeviceClass device) const;
  /// Weights, gradients and optimizer shard of one parameter.
  [[nodiscard]] double state_bytes_per_parameter(std::int64_t owners) const;
  [[nodiscard]] double gradient_bytes() const;   // of one parameter on the wire
  [[nodiscard]] double parameter_bytes() const;  // of one parameter on the wire and in memory

  /// Messages that leave the node: as measured, else as the cluster says. Its devices share it.
  [[nodiscard]] const LinkCurve& inter(int node) const;
  /// One micro-batch across a stage boundary, one direction.
  [[nodiscard]] double boundary_bytes(const StageShape& shape) const;  // of one device
  [[nodiscard]] double send_s(double bytes, DeviceSlot from, DeviceSlot to, int concurrent = 1) const;
  /// The least that any placement of the two classes gives; infinite where a class has no node.
  [[nodiscard]] double least_send_s(double bytes, DeviceClass from, DeviceClass to,
                                    const StageShape& shape) const;
  /// `bytes`: the whole buffer of one member.
  [[nodiscard]] double reduce_scatter_s(double bytes, const CollectiveGroup& group) const;
  [[nodiscard]] double all_gather_s(double bytes, const CollectiveGroup& group) const;
  [[nodiscard]] double all_reduce_s(double bytes, const CollectiveGroup& group) const;
  /// No reduce-scatter and no all-gather among at least so many members, wherever they are, takes less than
  /// this for each byte of the buffer.
  [[nodiscard]] double least_ring_s_per_byte(int members, int concurrent) const;

 private:
  CostModel(const ModelSpec& model, const ClusterSpec& cluster, const TrainSpec& train)
      : model_(model), cluster_(cluster), train_(train) {}
  [[nodiscard]] std::optional<LayerCost> measured(LayerKind kind, int layer, DeviceClass device,
                                                  const StageShape& shape, Recompute recompute) const;
  [[nodiscard]] double ring_s(CollectiveKind kind, double bytes, const CollectiveGroup& group) const;
  [[nodiscard]] double device_product_s(DeviceClass device, double flops) const;
  [[nodiscard]] double device_memory_s(DeviceClass device, double bytes) const;
  [[nodiscard]] double update_s(DeviceClass device, double parameters) const;
  [[nodiscard]] double element_bytes() const { return precision_ == Precision::kFp32 ? 4 : 2; }
  [[nodiscard]] LayerCost analytic_decoder(DeviceClass device, const StageShape& shape,
                                           Recompute recompute) const;
  [[nodiscard]] LayerCost analytic_embedding(DeviceClass device, const StageShape& shape) const;
  [[nodiscard]] LayerCost analytic_head(DeviceClass device, const StageShape& shape) const;
  [[nodiscard]] const LinkCurve& intra(int node) const;
  [[nodiscard]] double between_s(double bytes, int from, int to) const;
  /// The link between the cells of a stage: of one node where every node of the class has room for all.
  [[nodiscard]] double context_link_s(DeviceClass device, const StageShape& shape, double bytes) const;
  [[nodiscard]] double tensor_ring_s(DeviceClass device, int ranks, double bytes) const;

  ModelSpec model_;
  ClusterSpec cluster_;
  TrainSpec train_;
  std::optional<Profile> profile_;
  Precision precision_ = Precision::kFp32;
  bool identical_layers_ = true;
  std::vector<DeviceClass> node_class_;
  struct ClassNodes {
    DeviceClass device;
    int example = 0;  // a node of the class
    int fewest_devices = 0;
    int most_devices = 0;
    int nodes = 0;
  };
  std::vector<ClassNodes> classes_;
  [[nodiscard]] const ClassNodes& nodes_of(DeviceClass device) const;
};

}  // namespace tessera::planner
