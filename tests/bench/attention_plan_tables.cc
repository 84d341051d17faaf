/// Prints the tables of docs/mesh_attention.md: rows and columns of a rank, event lists, bytes against the
/// ring and across nodes, and the event model's projection for 256 GPUs. Pure computation, about a second.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/mesh_choice.h"
#include "runtime/attention/mesh_shape.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/attention/token_layout.h"
#include "runtime/attention/volume.h"

namespace tessera::runtime {
namespace {

MeshShape shape_of(const std::string& text) { return parse_mesh_shape(text).value(); }

void print_tile(const std::string& text, int rank) {
  const TileAssignment tile(shape_of(text));
  fmt::print("{} rank {}: Q group", text, rank);
  for (const int peer : tile.q_group(rank)) fmt::print(" {}", peer);
  fmt::print(", KV group");
  for (const int peer : tile.kv_group(rank)) fmt::print(" {}", peer);
  fmt::print("\n  rows");
  for (int p = 0; p < tile.shape().a(); ++p) fmt::print(" {}", tile.row_chunk(rank, Row(p)).value);
  fmt::print("; columns");
  for (int q = 0; q < tile.shape().b(); ++q) fmt::print(" {}", tile.column_chunk(rank, Column(q)).value);
  const auto bytes = [&](Pass pass) {
    return attention_volume(pass, tile.shape(), TokenLayout::kZigzag, {1, 1536, 8, 8, 64}, rank).sent();
  };
  fmt::print("; 1536 tokens, 8 heads of 64: {} bytes forward, {} backward\n", bytes(Pass::kForward),
             bytes(Pass::kBackward));
}

void print_events(Pass pass, const std::string& text, const ScheduleCosts& costs) {
  TileSchedule schedule = plan_schedule(pass, shape_of(text), costs);
  const ScheduleTimeline timeline = simulate(schedule, costs);
  TileSchedule ring = plan_schedule(pass, MeshShape::ring(schedule.shape.ranks()), costs);
  fmt::print("{} {}: {}\n  makespan {}, idle {}; ring {}\n", text,
             pass == Pass::kForward ? "forward" : "backward", to_string(schedule), timeline.makespan,
             timeline.compute_idle, simulate(ring, costs).makespan);
  for (std::size_t i = 0; i < schedule.transfers.size(); ++i) {
    const TileSchedule one{pass, schedule.shape, {schedule.transfers[i]}, {}};
    fmt::print("  {:>4}-{:<4} {:<4}", timeline.transfers[i].start, timeline.transfers[i].end, to_string(one));
  }
  fmt::print("\n");
  for (std::size_t i = 0; i < schedule.blocks.size(); ++i) {
    fmt::print("  {:>4}-{:<4} ({},{})", timeline.blocks[i].start, timeline.blocks[i].end,
               schedule.blocks[i].row, schedule.blocks[i].column);
  }
  fmt::print("\n");
}

void print_reductions() {
  fmt::print("\n| ranks | MHA | GQA, r = 4 | GQA, r = 8 |\n|---|---|---|---|\n");
  for (const int n : {8, 16, 32, 64, 128, 256, 512, 1024}) {
    fmt::print("| {} |", n);
    for (const int r : {1, 4, 8}) {
      const AttentionDims dims{1, std::int64_t{1} << 20, 32, 32 / r, 128};
      double best = -1;
      MeshShape best_shape;
      for (const MeshShape& shape : all_meshes(n)) {
        const double reduction = reduction_against_ring(shape, dims);
        if (reduction > best) {
          best = reduction;
          best_shape = shape;
        }
      }
      fmt::print(" {} {:.1f} % |", to_string(best_shape), 100 * best);
    }
    fmt::print("\n");
  }
}

/// Bytes per rank in units of one Q chunk, across nodes of 8 and inside them.
void print_crossing() {
  const AttentionDims dims{1, std::int64_t{1} << 20, 32, 32, 128};
  fmt::print(
      "\n| shape | forward, across | forward, inside | backward, across | backward, inside | hops forward |\n"
      "|---|---|---|---|---|---|\n");
  for (const char* text : {"1x256", "1x(32.8)", "u8:1x32", "8x32", "16x16", "(4.8)x8", "u8:4x8"}) {
    const MeshShape shape = shape_of(text);
    const double chunk = 4.0 * static_cast<double>(dims.tokens / 256) * dims.heads * dims.head_dim;
    fmt::print("| {} |", text);
    for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
      const auto across = node_crossing_bytes(pass, shape, TokenLayout::kZigzag, dims, 8);
      const auto all = node_crossing_bytes(pass, shape, TokenLayout::kZigzag, dims, 1);
      fmt::print(" {:.1f} | {:.1f} |", static_cast<double>(across) / chunk / 256,
                 static_cast<double>(all - across) / chunk / 256);
    }
    fmt::print(" {} |\n", 2 * (shape.a() - 1) + shape.b() - 1);
  }
}

/// What masks leave of the bytes, forward and backward, over all of 16 ranks; a chunk is 256 tokens.
void print_masks() {
  constexpr std::int64_t kChunk = 256;
  const AttentionDims dims{1, 16 * kChunk, 16, 16, 64};
  std::vector<std::int32_t> documents;  // of 200, 201, 202, ... tokens
  std::int64_t left = 200;
  std::int64_t length = 200;
  for (std::int64_t t = 0; t < dims.tokens; ++t) {
    documents.push_back(static_cast<std::int32_t>(length));
    if (--left == 0) left = ++length;
  }
  const struct {
    const char* name;
    MaskRule rule;
  } masks[] = {{"causal", {true, 0, 1, {}}},
               {"causal, window 256", {true, kChunk, 1, {}}},
               {"causal, window 1024", {true, 4 * kChunk, 1, {}}},
               {"causal, documents of 200 and more", {true, 0, 1, documents}}};
  fmt::print("\n| shape | layout |");
  for (const auto& mask : masks) fmt::print(" {} |", mask.name);
  fmt::print("\n|---|---|---|---|---|---|\n");
  for (const char* text : {"1x16", "4x4", "16x1", "(4.4)x1", "1x(4.4)", "u4:2x2"}) {
    const MeshShape shape = shape_of(text);
    for (const TokenLayout layout : {TokenLayout::kContiguous, TokenLayout::kZigzag}) {
      const auto sent = [&](const ChunkMask& mask) {
        std::int64_t sum = 0;
        for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
          for (const NodeVolume& volume : node_volumes(pass, shape, layout, dims, mask, 16)) {
            sum += volume.inside;
          }
        }
        return static_cast<double>(sum);
      };
      const double all = sent(ChunkMask(shape.super_ranks()));
      fmt::print("| {} | {} |", text, token_layout_name(layout));
      for (const auto& mask : masks) {
        fmt::print(" {:.0f} % |", 100 * sent(chunk_mask(shape, layout, dims.tokens, mask.rule)) / all);
      }
      fmt::print("\n");
    }
  }
}

/// What --mesh auto weighs, 256 ranks in nodes of 8.
void print_choice() {
  MeshQuestion question;
  question.ranks = 256;
  question.ranks_per_node = 8;
  question.dims = {1, std::int64_t{1} << 20, 32, 32, 128};
  question.node_gb_per_s = 8 * 45;
  for (const double rank_link : {300.0, 20.0}) {
    question.rank_gb_per_s = rank_link;
    fmt::print("\n{}\n", mesh_table(question, rank_meshes(question), 6));
  }
}

/// Milliseconds of one layer on 256 ranks: batch 1, 32 heads of 128, MHA, causal, bf16 on the wire,
/// 500 and 400 TFLOP/s, 8 us per block, 20 us per hop, 45 GB/s per rank, Q ring on 300 GB/s where "node".
struct Layer {
  double block_forward, block_backward, chunk_slow, chunk_fast;
};

double layer_ms(Pass pass, const std::string& text, const Layer& layer, bool node) {
  constexpr double kHop = 0.020;
  const double q = node ? layer.chunk_fast : layer.chunk_slow;
  ScheduleCosts costs;
  costs.block = pass == Pass::kForward ? layer.block_forward : layer.block_backward;
  costs.receive_row = (pass == Pass::kForward ? 1 : 2) * q + kHop;
  costs.send_row = q + kHop;
  costs.receive_column = costs.send_column = 2 * layer.chunk_slow + kHop;
  costs.two_lanes = node;
  TileSchedule schedule = plan_schedule(pass, shape_of(text), costs);
  return simulate(schedule, costs).makespan;
}

void print_projection() {
  fmt::print("\n| tokens | Ring | 16x16 | 8x32 flat | 8x32, Q ring in the node |\n|---|---|---|---|---|\n");
  for (const int log2 : {18, 19, 20, 21, 22}) {
    const double c = static_cast<double>(std::int64_t{1} << log2) / 256;
    const double flops = 4 * c * c * 4096 / 2;  // half of the block is masked
    const double bytes = 2 * c * 4096;
    const Layer layer{flops / 500e9 + 0.008, 2.5 * flops / 400e9 + 0.008, bytes / 45e6, bytes / 300e6};
    const struct {
      const char* text;
      bool node;
    } columns[] = {{"1x256", false}, {"16x16", false}, {"8x32", false}, {"8x32", true}};
    double ring = 0;
    fmt::print("| {}K |", (1 << log2) / 1024);
    for (const auto& column : columns) {
      const double forward = layer_ms(Pass::kForward, column.text, layer, column.node);
      const double backward = layer_ms(Pass::kBackward, column.text, layer, column.node);
      if (ring == 0) ring = forward + backward;
      fmt::print(" {:.0f} + {:.0f} ms, {:.1f}x |", forward, backward, ring / (forward + backward));
    }
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace tessera::runtime

int main() {
  using namespace tessera::runtime;
  constexpr ScheduleCosts kForward{1, 1, 2, 1, 2, 1, false};
  constexpr ScheduleCosts kBackward{2.5, 2, 2, 1, 2, 1, false};
  print_tile("4x3", 7);
  print_tile("3x4", 7);
  print_tile("1x12", 7);
  print_tile("(2.2)x3", 7);
  fmt::print("\n");
  for (const char* text : {"3x3", "2x4", "4x3"}) {
    print_events(Pass::kForward, text, kForward);
    print_events(Pass::kBackward, text, kBackward);
  }
  print_reductions();
  print_crossing();
  print_masks();
  print_choice();
  print_projection();
  return 0;
}
