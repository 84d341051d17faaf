/// One training iteration as the simulator sees it, and what the simulation answers.
///
/// Data-parallel groups run their own 1F1B pipelines of any depth, cut and micro-batch count. Stage s of a
/// group with P stages and m micro-batches executes, in this order,
///
///   w = min(P - 1 - s, m) forwards, then (forward, backward) pairs, then the w backwards that remain
///
/// so at most min(P - s, m) micro-batches are in flight on it. A message leaves when its result exists,
/// each directed boundary carries one message at a time, and computation goes on meanwhile unless sends
/// block.
///
/// Gradients are reduced segment by segment. A segment's owners are all stages that hold its layers; it
/// starts when the last backward of each owner has passed its layers and each owner has finished the segments
/// before it: one communication stream per stage, one global order, so no deadlock is possible (AutoHet
/// notes, 2.9). After that come the update and, with sharded optimizer states, the gather of the parameters
/// in the same order. Transfers and collectives share the NICs they name (task_graph.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/sim/task_graph.h"

namespace tessera::planner::sim {

/// A message or a collective: how long it takes alone, and what it asks of which NICs meanwhile.
struct Transfer {
  double seconds = 0;
  std::vector<Demand> demands;
};

struct Stage {
  std::string name;  // for pictures
  double forward_s = 0;
  double backward_s = 0;  // with what is recomputed
  double update_s = 0;
  Transfer send_activation;  // to the next stage; none on the last
  Transfer send_gradient;    // to the previous stage; none on the first
  // Bytes per device of the stage.
  double static_bytes = 0;      // weights, gradients, optimizer states, buffers
  double activation_bytes = 0;  // per micro-batch in flight
  double workspace_bytes = 0;   // while computing
};

struct Group {
  std::vector<Stage> stages;  // at least one
  int micro_batches = 1;      // at least one
};

/// `ready` in [0, 1]: the part of the owner's last backward after which the segment's gradients are complete.
struct Owner {
  int group = 0;
  int stage = 0;
  double ready = 1;
};

struct Segment {
  std::string name;
  Transfer reduce;
  Transfer gather;
  std::vector<Owner> owners;  // at least one, distinct
};

struct Iteration {
  std::vector<Group> groups;      // at least one
  std::vector<Segment> segments;  // in the global order
  std::vector<double> nic_bytes_per_s;
  bool blocking_sends = false;  // a stage does nothing else while it sends (no asynchronous transfers)
  bool norm_barrier = true;     // clipping: no update before all gradients are reduced everywhere
};

enum class TaskKind : std::uint8_t {
  kForward,
  kBackward,
  kSendActivation,
  kSendGradient,
  kReduce,
  kUpdate,
  kGather,
};

/// kReduce and kGather: `index` is the segment, group and stage are -1 (its owners are in the Iteration).
/// kUpdate: index is 0. All others: index is the micro-batch, and a send belongs to its sender.
struct Task {
  TaskKind kind = TaskKind::kForward;
  int group = -1;
  int stage = -1;
  int index = 0;
  double start_s = 0;
  double end_s = 0;
};

struct Timeline {
  std::vector<Task> tasks;                  // sorted by start
  double iteration_s = 0;                   // the last end
  double pipeline_s = 0;                    // the last backward's end
  double reduce_exposed_s = 0;              // from pipeline_s until the last reduction has ended
  double update_s = 0;                      // from there until the last update has ended
  double gather_exposed_s = 0;              // from there until the end
  std::vector<std::vector<double>> busy_s;  // by group and stage: forwards and backwards
};

/// Errors: none; an Iteration that breaks the rules above is the caller's mistake (TS_REQUIRE).
/// Complexity: O(tasks log tasks), tasks = sum over groups of 4 * stages * micro_batches.
[[nodiscard]] Timeline simulate(const Iteration& iteration);

/// Share of all stages' time until pipeline_s in which they do not compute: start-up, drain, waiting for
/// messages and for slower groups. Requires pipeline_s > 0.
[[nodiscard]] double bubble_share(const Timeline& timeline);

}  // namespace tessera::planner::sim
