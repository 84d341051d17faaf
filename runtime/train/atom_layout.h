/// Where the floats of atoms (recovery/state/atom.h) lie in a rank's flat buffers. Pure.
///
/// A block is one (layer, slice): block = layer * A + slice. Its three atoms, weight and moments, are laid
/// out alike: the tensors of the layer in the order of runtime/model/parameters.h, of each the part that
/// tensor rank `slice` of A would hold, row-major, without gaps. Norms are in slice 0.
///
/// Example, q_proj of 4 rows and o_proj of 4 columns, width 4, A = 2, one tensor rank. Slice 1 has rows 2, 3
/// of q_proj, one run of 8 floats, and columns 2, 3 of o_proj, a run of 2 for each of the 4 rows.
#pragma once

#include <cstdint>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "planner/spec/model_spec.h"
#include "recovery/state/atom.h"
#include "runtime/model/model_slice.h"
#include "runtime/model/parameters.h"
#include "runtime/optim/sharded_adamw.h"

namespace tessera::runtime {

[[nodiscard]] recovery::AtomTable atom_table(const planner::ModelSpec& model);

/// Floats that follow each other in a block's atoms and in another buffer.
struct AtomRun {
  int block = 0;
  std::int64_t in_atom = 0;  // floats from the start of the atom
  std::int64_t offset = 0;   // floats from the start of the buffer
  std::int64_t count = 0;
  bool operator==(const AtomRun&) const = default;
};

/// Everything of the model's atoms that is in the flat buffer of a slice, rising by (block, in_atom). A
/// tensor rank has its own slices whole, and of slice 0 also the norms. Requires  slice.tensor_ranks divides
/// the model's A.
[[nodiscard]] std::vector<AtomRun> atom_runs(const planner::ModelSpec& model, const ModelSlice& slice);

/// Whether the slice of the model has all of the block.
[[nodiscard]] bool holds_block(const recovery::AtomTable& table, const ModelSlice& slice, bool tied,
                               int block);

/// The part of `runs` inside `ranges` of their buffer; offsets then count in the ranges laid end to end, as
/// the moments of ShardedAdamw lie.
[[nodiscard]] std::vector<AtomRun> runs_within(const std::vector<AtomRun>& runs,
                                               const std::vector<FlatRange>& ranges);

/// [begin, end) of a block's atoms, in floats.
struct AtomSpan {
  int block = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  auto operator<=>(const AtomSpan&) const = default;
};
/// What runs cover, neighbours joined, rising.
[[nodiscard]] std::vector<AtomSpan> covered(const std::vector<AtomRun>& runs);

/// One rank's part of the training state.
struct RankState {
  std::vector<AtomRun> weights;        // offsets in its flat buffer
  std::vector<AtomRun> moments;        // offsets in its moments
  std::vector<AtomRun> saved_moments;  // of those, the ones that no other rank has: all but norms' twins
};
[[nodiscard]] RankState rank_state(const planner::ModelSpec& model, const planner::Plan& plan,
                                   const planner::RankPlace& place);

/// kInvalidArgument where the plan's tensor-parallel degree does not divide A.
[[nodiscard]] Status check_atom_slices(const planner::ModelSpec& model, const planner::Plan& plan);

}  // namespace tessera::runtime
