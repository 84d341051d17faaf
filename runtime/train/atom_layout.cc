#include "runtime/train/atom_layout.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/train/plan_shards.h"

namespace tessera::runtime {
namespace {

/// What tensor rank `slice` of `slices` holds of one layer; layer 0 is the embedding, L + 1 norm and head.
ModelSlice layer_slice(const planner::ModelSpec& model, int layer, int slice, int slices) {
  const bool decoder = layer >= 1 && layer <= model.layers;
  return {.first_layer = std::clamp(layer - 1, 0, model.layers),
          .layers = decoder ? 1 : 0,
          .embedding = layer == 0,
          .head = layer == model.layers + 1,
          .tensor_rank = slice,
          .tensor_ranks = slices};
}

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";

/// The tensors of a block with where each begins in its atoms. Of a tied head only the norm.
std::vector<std::pair<ParameterInfo, std::int64_t>> block_tensors(const planner::ModelSpec& model, int layer,
                                                                  int slice, int slices) {
  std::vector<std::pair<ParameterInfo, std::int64_t>> tensors;
  std::int64_t at = 0;
  const ParameterLayout layout(model, layer_slice(model, layer, slice, slices));
  for (const ParameterInfo& tensor : layout.parameters()) {
    if (layer > 0 && tensor.name == kEmbedding) continue;
    if (tensor.full_shape.size() == 1 && slice > 0) continue;
    tensors.emplace_back(tensor, at);
    at += tensor.count;
  }
  return tensors;
}

bool holds_layer(const ModelSlice& slice, bool tied, int layer, int layers) {
  if (layer == 0) return slice.embedding || (slice.head && tied);
  if (layer == layers - 1) return slice.head;
  return layer - 1 >= slice.first_layer && layer - 1 < slice.first_layer + slice.layers;
}

bool holds_slice(const ModelSlice& own, int slice, int slices) {
  return slice / (slices / own.tensor_ranks) == own.tensor_rank;
}

/// Where element `full_index` of the full tensor is in the buffer that has `local` of it.
std::int64_t offset_of(const ParameterInfo& local, std::int64_t full_index) {
  if (local.cut_dim < 0) return local.offset + full_index;
  const std::int64_t columns = local.full_shape[1];
  if (local.cut_dim == 0) return local.offset + full_index - local.block_begin * columns;
  return local.offset + full_index / columns * local.shape[1] + full_index % columns - local.block_begin;
}

}  // namespace

recovery::AtomTable atom_table(const planner::ModelSpec& model) {
  recovery::AtomTable table;
  table.layers = model.layers + 2;
  table.slices = recovery::atom_slices(model.kv_heads);
  for (int layer = 0; layer < table.layers; ++layer) {
    for (int slice = 0; slice < table.slices; ++slice) {
      std::int64_t floats = 0;
      for (const auto& [tensor, at] : block_tensors(model, layer, slice, table.slices)) {
        floats = at + tensor.count;
      }
      table.floats.push_back(floats);
    }
  }
  return table;
}

std::vector<AtomRun> atom_runs(const planner::ModelSpec& model, const ModelSlice& slice) {
  const int layers = model.layers + 2;
  const int slices = recovery::atom_slices(model.kv_heads);
  TS_REQUIRE(slices % slice.tensor_ranks == 0, slices, slice.tensor_ranks);
  const ParameterLayout layout(model, slice);
  std::map<std::string_view, const ParameterInfo*> by_name;
  for (const ParameterInfo& info : layout.parameters()) by_name[info.name] = &info;

  std::vector<AtomRun> runs;
  for (int layer = 0; layer < layers; ++layer) {
    if (!holds_layer(slice, model.tie_word_embeddings, layer, layers)) continue;
    for (int s = 0; s < slices; ++s) {
      const bool own = holds_slice(slice, s, slices);
      if (!own && s > 0) continue;
      for (const auto& [tensor, begin] : block_tensors(model, layer, s, slices)) {
        if (!own && tensor.full_shape.size() > 1) continue;
        const ParameterInfo& local = *by_name.at(tensor.name);
        for (const ParameterInfo::Run& run : tensor.runs()) {
          const AtomRun found{layer * slices + s, begin + (run.offset - tensor.offset),
                              offset_of(local, run.full_index), run.count};
          if (found.count == 0) continue;
          if (!runs.empty() && runs.back().block == found.block &&
              runs.back().in_atom + runs.back().count == found.in_atom &&
              runs.back().offset + runs.back().count == found.offset) {
            runs.back().count += found.count;
          } else {
            runs.push_back(found);
          }
        }
      }
    }
  }
  return runs;
}

bool holds_block(const recovery::AtomTable& table, const ModelSlice& slice, bool tied, int block) {
  return holds_layer(slice, tied, block / table.slices, table.layers) &&
         holds_slice(slice, block % table.slices, table.slices);
}

std::vector<AtomRun> runs_within(const std::vector<AtomRun>& runs, const std::vector<FlatRange>& ranges) {
  std::vector<std::int64_t> starts;  // of each range in the ranges laid end to end
  std::int64_t sum = 0;
  for (const FlatRange& range : ranges) {
    starts.push_back(sum);
    sum += range.count;
  }
  std::vector<AtomRun> inside;
  for (const AtomRun& run : runs) {
    auto range = std::ranges::upper_bound(ranges, run.offset, {},
                                          [](const FlatRange& r) { return r.offset + r.count; });
    for (; range != ranges.end() && range->offset < run.offset + run.count; ++range) {
      const std::int64_t first = std::max(run.offset, range->offset);
      const std::int64_t last = std::min(run.offset + run.count, range->offset + range->count);
      if (first >= last) continue;
      inside.push_back({run.block, run.in_atom + (first - run.offset),
                        starts[static_cast<std::size_t>(range - ranges.begin())] + (first - range->offset),
                        last - first});
    }
  }
  return inside;
}

std::vector<AtomSpan> covered(const std::vector<AtomRun>& runs) {
  std::vector<AtomSpan> spans;
  for (const AtomRun& run : runs) {
    if (!spans.empty() && spans.back().block == run.block && spans.back().end == run.in_atom) {
      spans.back().end += run.count;
    } else {
      spans.push_back({run.block, run.in_atom, run.in_atom + run.count});
    }
  }
  return spans;
}

RankState rank_state(const planner::ModelSpec& model, const planner::Plan& plan,
                     const planner::RankPlace& place) {
  const ModelSlice slice = slice_of(plan, place);
  const int slices = recovery::atom_slices(model.kv_heads);
  RankState state;
  state.weights = atom_runs(model, slice);
  state.moments = runs_within(state.weights, owned_ranges(plan, ParameterLayout(model, slice), place));
  std::ranges::copy_if(state.moments, std::back_inserter(state.saved_moments),
                       [&](const AtomRun& run) { return holds_slice(slice, run.block % slices, slices); });
  return state;
}

Status check_atom_slices(const planner::ModelSpec& model, const planner::Plan& plan) {
  const int slices = recovery::atom_slices(model.kv_heads);
  if (slices % plan.tensor_parallel == 0) return {};
  return bad_input({"--recovery-*", "tensor_parallel", fmt::format("{}", plan.tensor_parallel),
                    fmt::format("a divisor of {}, the slices that a layer's state is stored in", slices),
                    "lower --tensor-parallel, or train without snapshots"});
}

}  // namespace tessera::runtime
