// The bytes and messages that MeshAttention moves, counted by the communicator, against the closed forms of
// volume.h: per rank, per kind, both passes, for every shape, chunks ragged and some of them empty.
#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/ring_messages.h"
#include "runtime/attention/tile_assignment.h"
#include "runtime/attention/volume.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

struct KindVolume {
  Traffic kind = Traffic::kControl;
  std::int64_t sent = 0;
  std::int64_t received = 0;
  std::int64_t messages_sent = 0;
  std::int64_t messages_received = 0;
};

/// Messages that a rank sends and receives on one of its rings, out and back.
struct RingCounts {
  std::int64_t out_sent = 0, out_received = 0, back_sent = 0, back_received = 0;
};

RingCounts ring_counts(const MeshShape& shape, const ChunkMask& mask, bool rows, int super_rank) {
  const TileAssignment assignment(shape);
  const int u = assignment.kv_index(super_rank);
  const int v = assignment.q_index(super_rank);
  RingCounts counts;
  for (const RingMessage& m : ring_messages(ring_use(shape, mask, rows, rows ? u : v), rows ? v : u)) {
    (m.back ? counts.back_sent : counts.out_sent) += m.from == (rows ? v : u) ? 1 : 0;
    (m.back ? counts.back_received : counts.out_received) += m.to == (rows ? v : u) ? 1 : 0;
  }
  return counts;
}

/// One line per kind of traffic; kinds that a pass does not have move nothing. Messages of one head piece.
std::array<KindVolume, 6> expected_volume(Pass pass, const AttentionVolume& v, const MeshShape& shape,
                                          const ChunkMask& mask, int rank) {
  const bool forward = pass == Pass::kForward;
  const RingCounts q = ring_counts(shape, mask, true, rank / shape.heads);
  const RingCounts kv = ring_counts(shape, mask, false, rank / shape.heads);
  KindVolume out{Traffic::kPartialOut};
  KindVolume grad{Traffic::kQueryGrad};
  (forward ? out : grad) = {forward ? Traffic::kPartialOut : Traffic::kQueryGrad, v.partial_sent,
                            v.partial_received, q.back_sent, q.back_received};
  const std::int64_t exchanges = 2 * std::int64_t{shape.heads - 1};
  return {
      KindVolume{Traffic::kQuery, v.query_sent, v.query_received, q.out_sent, q.out_received},
      KindVolume{Traffic::kKeyValue, v.key_value_sent, v.key_value_received, kv.out_sent, kv.out_received},
      out,
      grad,
      KindVolume{Traffic::kKeyValueGrad, v.key_value_grad_sent, v.key_value_grad_received,
                 forward ? 0 : kv.back_sent, forward ? 0 : kv.back_received},
      KindVolume{Traffic::kHeadExchange, v.head_exchange_sent, v.head_exchange_received, exchanges,
                 exchanges}};
}

ChunkMask mask_of(const AttentionConfig& config, std::span<const std::int32_t> documents) {
  return chunk_mask(config.shape, config.layout, config.dims.tokens,
                    {config.causal, config.window, config.dims.batch, documents});
}

/// Documents of 1 to 2 * mean - 1 tokens.
std::vector<std::int32_t> random_documents(const AttentionDims& dims, std::int64_t mean, std::uint64_t seed) {
  std::vector<std::int32_t> documents;
  std::int32_t document = 0;
  std::int64_t left = 0;
  for (std::int64_t i = 0; i < dims.batch * dims.tokens; ++i) {
    if (i % dims.tokens == 0 || left == 0) {
      ++document;
      left = 1 + static_cast<std::int64_t>(uniform(seed, static_cast<std::uint64_t>(i)) *
                                           static_cast<double>(2 * mean - 1));
    }
    documents.push_back(document);
    --left;
  }
  return documents;
}

/// What is wrong on this rank, or nothing.
std::string difference(Pass pass, const AttentionConfig& config, const ChunkMask& mask, Communicator& comm) {
  const int rank = comm.rank().value;
  const AttentionVolume volume = attention_volume(pass, config.shape, config.layout, config.dims, mask, rank);
  std::string wrong;
  for (const KindVolume& e : expected_volume(pass, volume, config.shape, mask, rank)) {
    const TrafficCount found = comm.traffic().by_kind(e.kind);
    if (found.bytes_sent == e.sent && found.bytes_received == e.received &&
        found.messages_sent == config.head_pieces * e.messages_sent &&
        found.messages_received == config.head_pieces * e.messages_received) {
      continue;
    }
    wrong += fmt::format(
        "{} rank {} {}: sent {} bytes in {} messages, received {} in {}; expected {} in {}, {} in {}\n",
        pass == Pass::kForward ? "forward" : "backward", rank, traffic_name(e.kind), found.bytes_sent,
        found.messages_sent, found.bytes_received, found.messages_received, e.sent,
        config.head_pieces * e.messages_sent, e.received, config.head_pieces * e.messages_received);
  }
  const TrafficCount total = comm.traffic().total();
  if (total.bytes_sent != volume.sent() || total.bytes_received != volume.received()) {
    wrong +=
        fmt::format("rank {}: {} bytes sent in all, expected {}\n", rank, total.bytes_sent, volume.sent());
  }
  return wrong;
}

/// Bytes of one pass that leave nodes of `ranks_per_node`, as this rank counted them.
std::int64_t sent_off_node(Communicator& comm, int ranks_per_node) {
  std::int64_t bytes = 0;
  for (int peer = 0; peer < comm.size(); ++peer) {
    if (peer / ranks_per_node == comm.rank().value / ranks_per_node) continue;
    bytes += comm.traffic().by_peer(Rank(peer)).bytes_sent;
  }
  return bytes;
}

void expect_volumes(const AttentionConfig& config, const support::AttentionInput& input, int ranks_per_node) {
  const MeshShape& shape = config.shape;
  const ChunkMask mask = mask_of(config, input.documents);
  std::string wrong;
  std::int64_t off_node[2] = {0, 0};
  std::mutex mutex;
  run_local_ranks(shape.ranks(), [&](Communicator& comm) {
    support::AttentionRank rank(comm, config, input);
    comm.traffic().reset();
    rank.forward();
    const std::string forward = difference(Pass::kForward, config, mask, comm);
    const std::int64_t forward_off_node = sent_off_node(comm, ranks_per_node);
    comm.traffic().reset();
    rank.backward();
    const std::string backward = difference(Pass::kBackward, config, mask, comm);
    const std::lock_guard lock(mutex);
    wrong += forward + backward;
    off_node[0] += forward_off_node;
    off_node[1] += sent_off_node(comm, ranks_per_node);
  });
  const std::string what = to_string(shape) + " " + std::string(token_layout_name(config.layout));
  EXPECT_EQ(wrong, "") << what;
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    std::int64_t across = 0;
    for (const NodeVolume& volume :
         node_volumes(pass, shape, config.layout, config.dims, mask, ranks_per_node)) {
      across += volume.across;
    }
    EXPECT_EQ(off_node[pass == Pass::kForward ? 0 : 1], across) << what;
  }
}

AttentionConfig config_of(const MeshShape& shape, TokenLayout layout, const AttentionDims& dims) {
  AttentionConfig config;
  config.dims = dims;
  config.shape = shape;
  config.layout = layout;
  return config;
}

/// Everything travels: no mask, so that the closed forms hold.
void expect_volumes(const MeshShape& shape, TokenLayout layout, const AttentionDims& dims,
                    int ranks_per_node = 4) {
  AttentionConfig config = config_of(shape, layout, dims);
  config.causal = false;
  expect_volumes(config, support::random_attention(dims, 1), ranks_per_node);
}

/// 3n/2 + 1 tokens: chunks of one and two tokens.
TEST(CommVolume, EveryMeshUpTo64Ranks) {
  int turn = 0;
  for (int n = 1; n <= 64; ++n) {
    for (const MeshShape& shape : all_meshes(n)) {
      const auto layout = static_cast<TokenLayout>(turn++ % 3);
      expect_volumes(shape, layout, {1, 3 * n / 2 + 1, 2, 1, 2});
    }
  }
}

/// Fewer tokens than ranks, several sequences, grouped and single key/value heads, head-parallel,
/// hierarchies.
TEST(CommVolume, EverySchemeOnTwelveRanks) {
  for (const AttentionDims& dims : {AttentionDims{1, 7, 6, 6, 3}, AttentionDims{3, 29, 6, 3, 2},
                                    AttentionDims{2, 24, 12, 12, 1}, AttentionDims{1, 100, 4, 1, 5}}) {
    for (const MeshShape& shape : support::shapes_on(12, dims.heads, dims.kv_heads)) {
      for (const TokenLayout layout :
           {TokenLayout::kZigzag, TokenLayout::kStriped, TokenLayout::kContiguous}) {
        expect_volumes(shape, layout, dims, 3);
      }
    }
  }
}

/// Windows, documents and causality take messages away; what is left is counted to the byte on every scheme.
TEST(CommVolume, MasksOnEveryScheme) {
  const AttentionDims dims{2, 61, 4, 2, 3};
  int turn = 0;
  for (const int n : {5, 8, 12}) {
    for (const MeshShape& shape : support::shapes_on(n, dims.heads, dims.kv_heads)) {
      for (const TokenLayout layout :
           {TokenLayout::kZigzag, TokenLayout::kStriped, TokenLayout::kContiguous}) {
        AttentionConfig config = config_of(shape, layout, dims);
        config.causal = turn % 4 != 0;
        config.window = turn % 3 == 0 ? 9 : 0;
        support::AttentionInput input = support::random_attention(dims, 1);
        if (turn % 2 == 0) input.documents = random_documents(dims, 7, static_cast<std::uint64_t>(turn));
        expect_volumes(config, input, 3);
        ++turn;
      }
    }
  }
}

/// Head pieces: as many bytes in more messages.
TEST(CommVolume, HeadPieces) {
  for (const char* text : {"u2:1x1", "u2:2x2", "u4:1x2", "u2:(2.2)x1"}) {
    for (const int pieces : {1, 2}) {
      AttentionConfig config =
          config_of(parse_mesh_shape(text).value(), TokenLayout::kZigzag, {2, 61, 16, 8, 3});
      config.head_pieces = pieces;
      expect_volumes(config, support::random_attention(config.dims, 1), 2);
    }
  }
}

/// Causal attention over contiguous chunks: a ring carries each chunk to the later ranks only, half the hops.
TEST(CommVolume, CausalContiguousRingCarriesHalf) {
  const int n = 16;
  const AttentionDims dims{1, 4 * n, 2, 2, 4};
  AttentionConfig config = config_of(MeshShape::ring(n), TokenLayout::kContiguous, dims);
  expect_volumes(config, support::random_attention(dims, 1), 4);
  std::int64_t sent = 0;
  for (int rank = 0; rank < n; ++rank) {
    sent +=
        attention_volume(Pass::kForward, config.shape, config.layout, dims, mask_of(config, {}), rank).sent();
  }
  const std::int64_t chunk = 2 * 4 * 4 * dims.heads * dims.head_dim;  // K and V, 4 tokens
  EXPECT_EQ(sent, n * (n - 1) / 2 * chunk);
  // A window of two chunks: each travels to the two ranks behind its own.
  config.window = 8;
  expect_volumes(config, support::random_attention(dims, 1), 4);
  sent = 0;
  for (int rank = 0; rank < n; ++rank) {
    sent +=
        attention_volume(Pass::kForward, config.shape, config.layout, dims, mask_of(config, {}), rank).sent();
  }
  EXPECT_EQ(sent, (2 * (n - 2) + 1) * chunk);
}

class On256Ranks : public ::testing::TestWithParam<const char*> {};

TEST_P(On256Ranks, CountsMatch) {
  expect_volumes(parse_mesh_shape(GetParam()).value(), TokenLayout::kZigzag, {1, 300, 8, 8, 1}, 8);
}

INSTANTIATE_TEST_SUITE_P(Shapes, On256Ranks,
                         ::testing::Values("16x16", "8x32", "(4.8)x8", "u8:4x8", "(2.8)x16", "1x256",
                                           "1x(32.8)", "u8:1x32"));

}  // namespace
}  // namespace tessera::runtime
