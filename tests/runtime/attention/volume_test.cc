#include "runtime/attention/volume.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/attention/tile_assignment.h"

namespace tessera::runtime {
namespace {

constexpr Pass kPasses[] = {Pass::kForward, Pass::kBackward};

MeshShape shape_of(const std::string& text) { return parse_mesh_shape(text).value(); }

/// n ranks with `per_rank` tokens each, so that every chunk has the same size under every layout.
AttentionDims even_dims(int ranks, int per_rank, int heads, int kv_heads, int head_dim) {
  return {2, std::int64_t{ranks} * per_rank, heads, kv_heads, head_dim};
}

std::int64_t sum_sent(Pass pass, const MeshShape& shape, const AttentionDims& dims) {
  std::int64_t sum = 0;
  for (int rank = 0; rank < shape.ranks(); ++rank) {
    sum += attention_volume(pass, shape, TokenLayout::kZigzag, dims, rank).sent();
  }
  return sum;
}

/// Forward bytes a rank sends, in units of one Q chunk A, statistics left out.
double forward_in_chunks(const MeshShape& shape, const AttentionDims& dims) {
  const std::int64_t chunk = 4 * dims.batch * (dims.tokens / shape.ranks()) * dims.heads * dims.head_dim;
  const auto volume = attention_volume(Pass::kForward, shape, TokenLayout::kZigzag, dims, 0);
  // O and lse travel in one message; D/(D+1) of it is O.
  const double partial = static_cast<double>(volume.partial_sent) * dims.head_dim / (dims.head_dim + 1);
  return (static_cast<double>(volume.query_sent + volume.key_value_sent) + partial) /
         static_cast<double>(chunk);
}

TEST(ClosedForms, EveryMeshUpTo256Ranks) {
  for (int n = 1; n <= 256; ++n) {
    for (const MeshShape& shape : all_meshes(n)) {
      for (const int r : {1, 4}) {
        const AttentionDims dims = even_dims(n, 2, 8, 8 / r, 16);
        const std::int64_t c = 2;
        const std::int64_t a = shape.a();
        const std::int64_t b = shape.b();
        const std::int64_t A = 4 * dims.batch * c * dims.heads * dims.head_dim;
        const std::int64_t L = 4 * dims.batch * c * dims.heads;
        const int rank = n / 2;
        const auto forward = attention_volume(Pass::kForward, shape, TokenLayout::kZigzag, dims, rank);
        ASSERT_EQ(forward.query_sent, (a - 1) * A) << to_string(shape);
        ASSERT_EQ(forward.partial_sent, (a - 1) * (A + L));
        ASSERT_EQ(forward.key_value_sent, (b - 1) * 2 * A / r);
        ASSERT_EQ(forward.key_value_grad_sent, 0);
        ASSERT_EQ(forward.head_exchange_sent, 0);
        ASSERT_EQ(forward.sent(), (a - 1) * (2 * A + L) + (b - 1) * 2 * A / r);
        ASSERT_EQ(forward.received(), forward.sent());
        const auto backward = attention_volume(Pass::kBackward, shape, TokenLayout::kZigzag, dims, rank);
        ASSERT_EQ(backward.query_sent, (a - 1) * (2 * A + 2 * L));
        ASSERT_EQ(backward.partial_sent, (a - 1) * A);
        ASSERT_EQ(backward.key_value_sent, (b - 1) * 2 * A / r);
        ASSERT_EQ(backward.key_value_grad_sent, (b - 1) * 2 * A / r);
        ASSERT_EQ(backward.sent(), (a - 1) * (3 * A + 2 * L) + (b - 1) * 4 * A / r);
        ASSERT_EQ(backward.received(), backward.sent());
      }
    }
  }
}

TEST(ClosedForms, HierarchyMovesTheSameBytes) {
  const AttentionDims dims = even_dims(64, 2, 8, 2, 8);
  for (const Pass pass : kPasses) {
    for (const char* text : {"(4.8)x2", "(8.4)x2", "(32.1)x2"}) {
      EXPECT_EQ(sum_sent(pass, shape_of(text), dims), sum_sent(pass, shape_of("32x2"), dims)) << text;
    }
    EXPECT_EQ(sum_sent(pass, shape_of("1x(8.8)"), dims), sum_sent(pass, shape_of("1x64"), dims));
  }
}

TEST(ClosedForms, HeadParallelKeepsTheChunkBytesAndAddsTheExchange) {
  for (const int u : {2, 4, 8}) {
    const MeshShape shape{u, {1, 4}, {1, 2}};
    const int n = shape.ranks();
    const int r = 2;
    const AttentionDims dims = even_dims(n, 4, 16, 8, 16);
    const std::int64_t A = 4 * dims.batch * 4 * dims.heads * dims.head_dim;  // of c = 4 own tokens, all heads
    const std::int64_t L = A / dims.head_dim;
    for (int rank = 0; rank < n; ++rank) {
      // u*c tokens, H/u heads: A again. The exchange leaves 1/u of everything in place.
      const auto forward = attention_volume(Pass::kForward, shape, TokenLayout::kZigzag, dims, rank);
      ASSERT_EQ(forward.sent() - forward.head_exchange_sent, 3 * (2 * A + L) + 1 * 2 * A / r);
      ASSERT_EQ(forward.head_exchange_sent, (u - 1) * (A + 2 * A / r + A + L) / u);
      const auto backward = attention_volume(Pass::kBackward, shape, TokenLayout::kZigzag, dims, rank);
      ASSERT_EQ(backward.sent() - backward.head_exchange_sent, 3 * (3 * A + 2 * L) + 1 * 4 * A / r);
      ASSERT_EQ(backward.head_exchange_sent, (u - 1) * (2 * A + 2 * L + 2 * A / r + A + 2 * A / r) / u);
      ASSERT_EQ(forward.received(), forward.sent());
      ASSERT_EQ(backward.received(), backward.sent());
    }
  }
}

/// A rank's traffic, carried message by message over ragged chunks: every member forwards what it holds.
struct Walk {
  std::vector<std::array<std::int64_t, 5>> sent, received;  // query, kv, partial, kv gradient, head exchange
};

/// `sees(i, j)`: whether a query of chunk i sees a key of chunk j.
Walk walk_messages(Pass pass, const MeshShape& shape, TokenLayout layout, const AttentionDims& dims,
                   const std::function<bool(int, int)>& sees) {
  const int n = shape.ranks();
  const int u = shape.heads;
  const bool forward = pass == Pass::kForward;
  const std::int64_t h = dims.heads / u;
  const std::int64_t g = dims.kv_heads / u;
  const std::int64_t d = dims.head_dim;
  const auto bytes = [&](std::int64_t floats_per_token, std::int64_t tokens) {
    return 4 * dims.batch * floats_per_token * tokens;
  };
  std::vector<std::int64_t> own;
  for (int rank = 0; rank < n; ++rank) {
    own.push_back(static_cast<std::int64_t>(token_positions(layout, dims.tokens, n, rank).size()));
  }
  std::vector<std::int64_t> chunk(static_cast<std::size_t>(n / u), 0);
  for (int rank = 0; rank < n; ++rank)
    chunk[static_cast<std::size_t>(rank / u)] += own[static_cast<std::size_t>(rank)];

  Walk walk;
  walk.sent.resize(static_cast<std::size_t>(n));
  walk.received.resize(static_cast<std::size_t>(n));
  const auto message = [&](std::size_t kind, int from, int to, std::int64_t size) {
    walk.sent[static_cast<std::size_t>(from)][kind] += size;
    walk.received[static_cast<std::size_t>(to)][kind] += size;
  };
  // Each chunk visits the members of its ring that need it one by one, in the order of decreasing ring index
  // inside its inner group, its copies crossing to the next lower group before that; its partials follow the
  // same way. `needs(member, owner)` in ring indices.
  const auto ring = [&](const RingShape& r, const std::vector<int>& members, std::size_t out_kind,
                        std::int64_t out, std::size_t back_kind, std::int64_t back,
                        const std::function<bool(int, int)>& needs) {
    for (int o = 0; o < r.outer; ++o) {
      for (int i = 0; i < r.inner; ++i) {
        const int home = o * r.inner + i;
        const std::int64_t tokens =
            chunk[static_cast<std::size_t>(members[static_cast<std::size_t>(home)] / u)];
        const auto index = [&](int group, int place) {
          return (group + r.outer) % r.outer * r.inner + (place + r.inner) % r.inner;
        };
        const auto carry = [&](std::size_t kind, int from, int to) {
          message(kind, members[static_cast<std::size_t>(from)], members[static_cast<std::size_t>(to)],
                  bytes(kind == out_kind ? out : back, tokens));
        };
        int came_from = home;
        for (int s = 0; s < r.outer; ++s) {
          bool wanted = s == 0;
          for (int t = 0; t < r.inner; ++t) wanted = wanted || needs(index(o - s, i - t), home);
          if (!wanted) continue;
          const int entrance = index(o - s, i);
          if (s > 0) carry(out_kind, came_from, entrance);
          int holder = entrance;
          for (int t = 1; t < r.inner; ++t) {
            const int next = index(o - s, i - t);
            if (!needs(next, home)) continue;
            carry(out_kind, holder, next);
            if (holder != entrance) carry(back_kind, holder, next);
            holder = next;
          }
          if (holder != entrance) carry(back_kind, holder, entrance);
          if (came_from != home) carry(back_kind, came_from, entrance);
          came_from = entrance;
        }
        if (came_from != home) carry(back_kind, came_from, home);
      }
    }
  };
  for (int share = 0; share < u; ++share) {
    for (int s = 0; s < shape.b(); ++s) {
      std::vector<int> members;
      for (int t = 0; t < shape.a(); ++t) members.push_back((s * shape.a() + t) * u + share);
      ring(shape.q, members, 0, forward ? h * d : 2 * h * d + 2 * h, 2, forward ? h * d + h : h * d,
           [&](int member, int owner) {  // its columns are the chunks congruent to it modulo a
             for (int j = member; j < n / u; j += shape.a()) {
               if (sees(s * shape.a() + owner, j)) return true;
             }
             return false;
           });
    }
    for (int v = 0; v < shape.a(); ++v) {
      std::vector<int> members;
      for (int t = 0; t < shape.b(); ++t) members.push_back((t * shape.a() + v) * u + share);
      ring(shape.kv, members, 1, 2 * g * d, 3, forward ? 0 : 2 * g * d, [&](int member, int owner) {
        for (int i = member * shape.a(); i < (member + 1) * shape.a(); ++i) {
          if (sees(i, owner * shape.a() + v)) return true;
        }
        return false;
      });
    }
  }
  for (int from = 0; from < n; ++from) {
    for (int to = from / u * u; to < from / u * u + u; ++to) {
      if (to == from) continue;
      const std::int64_t in = forward ? h * d + 2 * g * d : 2 * h * d + 2 * h + 2 * g * d;
      const std::int64_t out = forward ? h * d + h : h * d + 2 * g * d;
      message(4, from, to, bytes(in, own[static_cast<std::size_t>(from)]));
      message(4, from, to, bytes(out, own[static_cast<std::size_t>(to)]));
    }
  }
  return walk;
}

void expect_walk(const Walk& walk, const AttentionVolume& volume, int rank, const std::string& what) {
  const std::array<std::int64_t, 5> sent = {volume.query_sent, volume.key_value_sent, volume.partial_sent,
                                            volume.key_value_grad_sent, volume.head_exchange_sent};
  const std::array<std::int64_t, 5> received = {volume.query_received, volume.key_value_received,
                                                volume.partial_received, volume.key_value_grad_received,
                                                volume.head_exchange_received};
  ASSERT_EQ(sent, walk.sent[static_cast<std::size_t>(rank)]) << what << ", rank " << rank;
  ASSERT_EQ(received, walk.received[static_cast<std::size_t>(rank)]) << what << ", rank " << rank;
}

constexpr const char* kSchemes[] = {"1x1",     "1x5",     "5x1",         "3x2",    "2x4",
                                    "(2.3)x2", "3x(2.2)", "(2.2)x(3.1)", "u2:2x3", "u4:(2.2)x1"};

TEST(RaggedChunks, EveryMessageCounted) {
  for (const char* text : kSchemes) {
    const MeshShape shape = shape_of(text);
    for (const TokenLayout layout : {TokenLayout::kContiguous, TokenLayout::kZigzag, TokenLayout::kStriped}) {
      for (const std::int64_t tokens : {0, 1, 13, 53, 128}) {
        const AttentionDims dims{3, tokens, 8, 4, 6};
        for (const Pass pass : kPasses) {
          const Walk walk = walk_messages(pass, shape, layout, dims, [](int, int) { return true; });
          for (int rank = 0; rank < shape.ranks(); ++rank) {
            expect_walk(walk, attention_volume(pass, shape, layout, dims, rank), rank, text);
          }
        }
      }
    }
  }
}

/// Who sees whom judged token by token. Layouts whose chunks are runs without holes, where the judgement of
/// chunk_mask by the ends of runs must be exact.
TEST(RaggedChunks, EveryMessageUnderMasks) {
  int fewer = 0;
  for (const char* text : kSchemes) {
    const MeshShape shape = shape_of(text);
    for (const TokenLayout layout : {TokenLayout::kContiguous, TokenLayout::kZigzag}) {
      for (const std::int64_t tokens : {1, 13, 53, 128}) {
        for (int which = 0; which < 8; ++which) {
          const bool causal = which % 2 != 0;
          const std::int32_t window = which % 4 < 2 ? 0 : 11;
          const AttentionDims dims{2, tokens, 8, 4, 6};
          std::vector<std::int32_t> documents;
          for (std::int64_t t = 0; which >= 4 && t < 2 * tokens; ++t) {
            // Of 9 tokens in the first sequence, of 17 in the second.
            documents.push_back(static_cast<std::int32_t>(t < tokens ? t / 9 : (t - tokens) / 17));
          }
          std::vector<std::vector<std::int32_t>> chunks;
          for (int g = 0; g < shape.super_ranks(); ++g) {
            chunks.push_back(super_rank_positions(shape, layout, tokens, g));
          }
          const auto sees = [&](int i, int j) {
            for (std::int64_t s = 0; s < dims.batch; ++s) {
              for (const std::int32_t q : chunks[static_cast<std::size_t>(i)]) {
                for (const std::int32_t k : chunks[static_cast<std::size_t>(j)]) {
                  const auto document = [&](std::int32_t t) {
                    return documents.empty() ? 0 : documents[static_cast<std::size_t>(s * tokens + t)];
                  };
                  if ((!causal || k <= q) && (window == 0 || std::abs(q - k) < window) &&
                      document(q) == document(k)) {
                    return true;
                  }
                }
              }
            }
            return false;
          };
          const ChunkMask mask = chunk_mask(shape, layout, tokens, {causal, window, dims.batch, documents});
          for (int i = 0; i < shape.super_ranks(); ++i) {
            for (int j = 0; j < shape.super_ranks(); ++j) {
              ASSERT_EQ(mask.sees(Chunk(i), Chunk(j)), sees(i, j)) << text << ", mask " << which;
            }
          }
          for (const Pass pass : kPasses) {
            const Walk walk = walk_messages(pass, shape, layout, dims, sees);
            const std::vector<NodeVolume> nodes = node_volumes(pass, shape, layout, dims, mask, 2);
            for (int rank = 0; rank < shape.ranks(); ++rank) {
              const AttentionVolume volume = attention_volume(pass, shape, layout, dims, mask, rank);
              expect_walk(walk, volume, rank, text);
              const NodeVolume& node = nodes[static_cast<std::size_t>(rank)];
              ASSERT_EQ(node.inside + node.across, volume.sent());
              fewer += volume.sent() < attention_volume(pass, shape, layout, dims, rank).sent() ? 1 : 0;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(fewer, 1000);  // masks do take messages away
}

/// Best shape of n ranks and its reduction against the ring.
struct Best {
  std::string shape;
  double reduction = -1;
};

Best best_shape(int n, int r, int head_dim) {
  Best best;
  const AttentionDims dims{1, 2 * std::int64_t{n}, 8, 8 / r, head_dim};
  for (const MeshShape& shape : all_meshes(n)) {
    const double reduction = reduction_against_ring(shape, dims);
    if (reduction > best.reduction) best = {to_string(shape), reduction};
  }
  return best;
}

TEST(ReductionAgainstRing, TableOfBestShapes) {
  const struct {
    int n;
    const char* shape[3];  // r = 1, 4, 8
    double percent[3];
  } rows[] = {
      {8, {"4x2", "2x4", "1x8"}, {50.0, 9.5, 0.0}},
      {16, {"4x4", "2x8", "2x8"}, {63.3, 31.1, 8.9}},
      {32, {"8x4", "4x8", "2x16"}, {71.5, 45.2, 30.1}},
      {64, {"8x8", "4x16", "4x16"}, {79.6, 60.3, 44.4}},
      {128, {"16x8", "8x16", "4x32"}, {84.6, 69.8, 59.8}},
      {256, {"16x16", "8x32", "8x32"}, {89.2, 78.7, 69.5}},
      {1024, {"32x32", "16x64", "16x64"}, {94.4, 89.0, 84.1}},
  };
  const int ratios[3] = {1, 4, 8};
  for (const auto& row : rows) {
    for (int i = 0; i < 3; ++i) {
      // The table leaves out lse and delta, a 1/D-th of Q: with D = 2^14 they vanish from the first decimal.
      const Best best = best_shape(row.n, ratios[i], 1 << 14);
      EXPECT_EQ(best.shape, row.shape[i]) << row.n << ", r = " << ratios[i];
      EXPECT_NEAR(100 * best.reduction, row.percent[i], 0.05 + 0.01) << row.n << ", r = " << ratios[i];
    }
  }
}

TEST(ReductionAgainstRing, IsTheRatioOfBytesSummedOverRanks) {
  for (const char* text : {"4x2", "2x4", "(2.2)x2", "u2:2x2", "u4:1x2", "1x8"}) {
    const AttentionDims dims{2, 53, 8, 4, 6};  // ragged
    double sums[2] = {0, 0};
    for (const Pass pass : kPasses) {
      sums[0] += static_cast<double>(sum_sent(pass, shape_of(text), dims));
      sums[1] += static_cast<double>(sum_sent(pass, MeshShape::ring(8), dims));
    }
    EXPECT_DOUBLE_EQ(reduction_against_ring(shape_of(text), dims), 1 - sums[0] / sums[1]) << text;
  }
}

TEST(ReductionAgainstRing, AtLeast89PercentFor256RanksWithStatistics) {
  const AttentionDims dims{1, 1 << 20, 32, 32, 128};
  const double reduction = reduction_against_ring(shape_of("16x16"), dims);
  EXPECT_GE(reduction, 0.89);
  EXPECT_EQ(reduction_against_ring(MeshShape::ring(256), dims), 0);
  EXPECT_EQ(reduction_against_ring(shape_of("1x1"), dims), 0);
}

TEST(OtherSchemes, ForwardVolumesInChunks) {
  const AttentionDims dims = even_dims(256, 2, 32, 32, 64);
  EXPECT_DOUBLE_EQ(forward_in_chunks(shape_of("1x256"), dims), 2 * 255);
  EXPECT_DOUBLE_EQ(forward_in_chunks(shape_of("1x(32.8)"), dims), 2 * 255);  // double ring
  EXPECT_DOUBLE_EQ(forward_in_chunks(shape_of("16x16"), dims), 2 * 15 + 2 * 15);
  EXPECT_DOUBLE_EQ(forward_in_chunks(shape_of("8x32"), dims), 2 * 7 + 2 * 31);
  // USP u x r: 2(r-1) on the ring, 4(u-1)/u for the exchange of Q, K, V, O.
  const MeshShape usp = shape_of("u8:1x32");
  EXPECT_DOUBLE_EQ(forward_in_chunks(usp, dims), 2 * 31);
  const auto volume = attention_volume(Pass::kForward, usp, TokenLayout::kZigzag, dims, 5);
  const double chunk = 4.0 * 2 * 2 * 32 * 64;
  const double lse = chunk / 64;
  EXPECT_DOUBLE_EQ(static_cast<double>(volume.head_exchange_sent), (4 * chunk + lse) * 7 / 8);
}

TEST(NodeCrossing, A256RankTableWithEightRanksPerNode) {
  const AttentionDims dims = even_dims(256, 2, 32, 32, 128);
  const double chunk = 4.0 * 2 * 2 * 32 * 128;
  const auto crossing = [&](const char* text) {
    return static_cast<double>(
               node_crossing_bytes(Pass::kForward, shape_of(text), TokenLayout::kZigzag, dims, 8)) /
           (256 * chunk);
  };
  // Chunks per rank; a partial carries 1/128 of a chunk of lse with it.
  EXPECT_DOUBLE_EQ(crossing("1x(32.8)"), 62);
  EXPECT_DOUBLE_EQ(crossing("u8:1x32"), 62);
  EXPECT_DOUBLE_EQ(crossing("8x32"), 62);
  EXPECT_DOUBLE_EQ(crossing("(4.8)x8"), 20 + 3.0 / 128);
  EXPECT_DOUBLE_EQ(crossing("u8:4x8"), 20 + 3.0 / 128);
  // One ring in rank order: only the last rank of each node sends outside, everything it forwards.
  EXPECT_DOUBLE_EQ(crossing("1x256"), 510.0 / 8);
  for (const char* text : {"(4.8)x8", "u8:4x8"}) {
    for (const char* rival : {"1x(32.8)", "u8:1x32"}) {
      for (const Pass pass : kPasses) {
        const auto bytes = [&](const char* shape) {
          return node_crossing_bytes(pass, shape_of(shape), TokenLayout::kZigzag, dims, 8);
        };
        EXPECT_LE(3 * bytes(text), bytes(rival)) << text << " against " << rival;
      }
    }
  }
}

TEST(NodeCrossing, NothingLeavesOneNode) {
  const AttentionDims dims{1, 100, 8, 8, 4};
  for (const char* text : {"4x2", "(2.2)x2", "u2:2x2", "1x8"}) {
    for (const Pass pass : kPasses) {
      EXPECT_EQ(node_crossing_bytes(pass, shape_of(text), TokenLayout::kZigzag, dims, 8), 0);
      // One rank per node: everything crosses.
      std::int64_t sent = 0;
      for (int rank = 0; rank < 8; ++rank) {
        sent += attention_volume(pass, shape_of(text), TokenLayout::kZigzag, dims, rank).sent();
      }
      EXPECT_EQ(node_crossing_bytes(pass, shape_of(text), TokenLayout::kZigzag, dims, 1), sent);
    }
  }
}

}  // namespace
}  // namespace tessera::runtime
