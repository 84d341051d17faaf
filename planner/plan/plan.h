/// Plan: who computes which layers, and what that is expected to cost. A value: it prints, compares, saves as
/// JSON, and says everything that a runtime needs to execute it.
///
/// Legend    D groups (data parallel), P_j stages of group j (pipeline), C = context mesh ranks,
///           t = tensor-parallel degree. A cell is t devices of one node; a stage is C cells.
///
/// Meaning   Each group holds every decoder layer once, cut into contiguous ranges, one per stage; stage 0
/// also
///           holds the embedding, the last stage the final norm and the head. With tied embeddings the last
///           stage holds the embedding matrix too, and its gradient is summed over first and last stages.
///           Group j trains micro_batches_j micro-batches of micro_batch sequences per step, in 1F1B order
///           (planner/plan/one_f_one_b.h); the groups take consecutive micro-batches of the step, group 0
///           first. Gradients are summed over micro-batches, groups and context ranks and divided once by the
///           global token count. Optimizer states are sharded over the D * C owners of each segment (ZeRO-1).
///
/// Ranks     are numbered group by group, stage by stage, cell by cell, and inside a cell by tensor rank:
///
///             rank = base(group, stage) + cell * t + tensor,   cell = the context rank in MeshShape's order
///
/// Example   t = 2, mesh 1x2, groups of 2 and 1 stages: 12 ranks. Rank 6 is group 0, stage 1, cell 1, tensor
/// 0:
///           its tensor group is {6, 7}, its context group {4, 6}, it receives activations from rank 2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/index.h"
#include "algos/base/status.h"
#include "runtime/attention/mesh_shape.h"

namespace tessera::planner {

using runtime::MeshShape;

/// Number formats of a whole job. kFp32: everything in fp32. Others: products in 16 bits, fp32 accumulation,
/// gradients, master weights and moments; kFp16 adds loss scaling (devices without bf16).
enum class Precision : std::uint8_t { kFp32, kBf16, kFp16 };
[[nodiscard]] const char* precision_name(Precision precision);  // "fp32", "bf16", "fp16"

/// What a decoder layer keeps of a micro-batch between forward and backward.
enum class Recompute : std::uint8_t {
  kNone,       // everything backward needs
  kSelective,  // its input and attention's result and lse; the rest is computed again
  kFull,       // its input; everything is computed again, attention too
};
[[nodiscard]] const char* recompute_name(Recompute recompute);  // "none", "selective", "full"

/// A machine the plan may name, with what it must have to be the same.
struct PlanNode {
  std::string name;    // as in cluster.json
  std::string device;  // DeviceType::name
  int devices = 0;
  bool operator==(const PlanNode&) const = default;
};

struct DeviceSlot {
  int node = 0;    // in Plan::nodes
  int device = 0;  // of the node, from 0
  auto operator<=>(const DeviceSlot&) const = default;
};

/// What the cost model expects of one device of a stage; all zero when nobody has estimated it.
struct StageExpectation {
  double forward_s = 0;          // one micro-batch
  double backward_s = 0;         // one micro-batch, with what is recomputed
  double update_s = 0;           // the optimizer's step on the shard
  double send_activation_s = 0;  // one micro-batch to the next stage; 0 on the last
  double send_gradient_s = 0;    // one micro-batch to the previous stage; 0 on the first
  double static_bytes = 0;       // weights, gradients, optimizer shard, communication buffers
  double activation_bytes = 0;   // one micro-batch in flight
  double workspace_bytes = 0;    // while computing
  double peak_bytes = 0;         // static + min(P - stage, m) * activation + workspace
  double capacity_bytes = 0;     // of the smallest device, less what is reserved
  bool operator==(const StageExpectation&) const = default;
};

struct Stage {
  std::vector<DeviceSlot> devices;   // C * t, in rank order
  int first_layer = 0;               // decoder layers [first_layer, first_layer + layers)
  int layers = 0;                    // at least 1
  std::vector<Recompute> recompute;  // of each of them
  StageExpectation expected;
  bool operator==(const Stage&) const = default;
};

struct DeviceGroup {
  std::int64_t micro_batches = 0;  // m_j, at least 1
  std::vector<Stage> stages;       // at least 1
  double period_s = 0;             // expected seconds per further micro-batch
  double pipeline_s = 0;           // expected seconds from the first forward to the last backward
  bool operator==(const DeviceGroup&) const = default;
};

/// What the search says about the whole plan; all zero when there was none.
struct PlanExpectation {
  double iteration_s = 0;      // analytic form: slowest pipeline + exposed reduction + update + gather
  double sync_exposed_s = 0;   // gradient reduction after the slowest pipeline
  double update_s = 0;         // the slowest update
  double gather_s = 0;         // updated parameters back to all owners
  double lower_bound_s = 0;    // no plan of the searched space has a smaller iteration_s
  double gap = 0;              // (iteration_s - lower_bound_s) / iteration_s
  std::int64_t evaluated = 0;  // plans of the space that were evaluated in full
  bool operator==(const PlanExpectation&) const = default;
};

struct Plan {
  // What is trained.
  int layers = 0;                    // decoder layers of the model
  bool tied_embeddings = false;      // ModelSpec::tie_word_embeddings
  std::int64_t parameters = 0;       // ModelSpec::parameters(): the model this plan is for
  std::int64_t sequence_length = 0;  // tokens
  std::int64_t global_batch = 0;     // sequences per step = micro_batch * sum of micro_batches
  Precision precision = Precision::kFp32;
  // How.
  int tensor_parallel = 1;
  MeshShape context;
  std::int64_t micro_batch = 1;  // sequences that one stage holds at a time
  std::vector<PlanNode> nodes;   // the cluster, idle nodes too
  std::vector<DeviceGroup> groups;
  PlanExpectation expected;

  [[nodiscard]] int cell_devices() const { return tensor_parallel; }
  [[nodiscard]] int stage_devices() const { return tensor_parallel * context.ranks(); }
  [[nodiscard]] int ranks() const;
  [[nodiscard]] int max_stages() const;
  [[nodiscard]] std::int64_t micro_batches() const;  // of all groups
  /// The first of the step's micro-batches that group j trains.
  [[nodiscard]] std::int64_t first_micro_batch(int group) const;
  bool operator==(const Plan&) const = default;
};

/// Where a rank is in the plan and on which device it runs.
struct RankPlace {
  int group = 0;
  int stage = 0;
  int cell = 0;    // context rank, 0 .. C-1
  int tensor = 0;  // 0 .. t-1
  DeviceSlot slot;
  bool operator==(const RankPlace&) const = default;
};
/// Of every rank, in rank order.
[[nodiscard]] std::vector<RankPlace> rank_places(const Plan& plan);
[[nodiscard]] Rank rank_of(const Plan& plan, int group, int stage, int cell, int tensor);

/// The stage of `group` that holds a decoder layer; every layer has one in a plan that passes
/// check_structure.
[[nodiscard]] int stage_of_layer(const DeviceGroup& group, int layer);

/// A table for people: groups, stages, layers, devices, expected times and memory.
[[nodiscard]] std::string to_text(const Plan& plan);
/// What differs, a line each, at most `most` lines; "" for equal plans.
[[nodiscard]] std::string plan_differences(const Plan& a, const Plan& b, int most = 20);

/// plan.json. Reading is strict: an unknown field, a missing one or a value of another type is refused, and
/// the plan satisfies check_structure as far as it can be judged without model and cluster. The "expected"
/// objects may be absent. Written numbers read back bit for bit.
[[nodiscard]] std::string to_plan_json(const Plan& plan);
[[nodiscard]] Result<Plan> parse_plan(const std::string& json_text, const std::string& file_name);
[[nodiscard]] Result<Plan> read_plan(const std::string& path);
[[nodiscard]] Status write_plan(const Plan& plan, const std::string& path);

}  // namespace tessera::planner
