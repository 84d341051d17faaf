/// The communicators a plan needs, derived from it: pure, and the same on every rank.
///
/// Gradient synchronisation. A segment is a maximal run of decoder layers with the same owner tuple (stage of
/// group 0, ..., stage of group D-1); the embedding joins the first segment, final norm and head the last.
/// One communicator per segment and tensor rank, over D * C ranks. Every rank issues its segments in this one
/// order, by descending layer, so no deadlock is possible (AutoHet notes, 2.9). With tied embeddings the
/// embedding matrix is a segment of its own, the last in the order: its owners are first and last stages.
///
/// Example   layers 0-3; group 0 cuts 0-1|2-3, group 1 cuts 0-2|3: the owner tuples are (0,0) for layers 0-1,
///           (1,0) for layer 2, (1,1) for layer 3: three segments, in the order 3, 2, 0-1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/index.h"
#include "planner/plan/plan.h"

namespace tessera::planner {

struct Segment {
  int first_layer = 0;  // decoder layers [first_layer, first_layer + layers); none if tied
  int layers = 0;
  bool embedding = false;                // with the embedding matrix
  bool head = false;                     // with the final norm and, unless tied, the head matrix
  bool tied = false;                     // the embedding matrix alone, shared by first and last stages
  std::vector<std::vector<int>> owners;  // by group: the stages that hold it, rising (one; tied: one or two)
  bool operator==(const Segment&) const = default;
};
/// In the global order.
[[nodiscard]] std::vector<Segment> derive_segments(const Plan& plan);

enum class CommunicatorKind : std::uint8_t { kTensor, kContext, kPipeline, kSegment };

/// kTensor: the ranks of a cell. kContext: same stage and tensor rank, in MeshShape's order. kPipeline: same
/// group, cell and tensor rank, in stage order; messages travel between neighbours. kSegment: the owners, in
/// rank order; `index` is the segment. Others: index counts from 0 within the kind.
struct CommunicatorGroup {
  CommunicatorKind kind = CommunicatorKind::kTensor;
  int index = 0;
  std::vector<Rank> ranks;
  bool operator==(const CommunicatorGroup&) const = default;
};
/// Groups of one rank are left out: they need no communicator. Kinds in the enum's order, segments in the
/// global order and within one by tensor rank. O(ranks * segments).
[[nodiscard]] std::vector<CommunicatorGroup> derive_communicators(const Plan& plan);

}  // namespace tessera::planner
