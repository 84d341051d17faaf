// The bytes and messages that MeshAttention moves, counted by the communicator, against the closed forms of
// volume.h: per rank, per kind, both passes, for every shape, chunks ragged and some of them empty.
#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/volume.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

struct KindVolume {
  Traffic kind = Traffic::kControl;
  std::int64_t sent = 0;
  std::int64_t received = 0;
  std::int64_t messages = 0;  // each way
};

/// One line per kind of traffic; kinds that a pass does not have move nothing.
std::array<KindVolume, 6> expected_volume(Pass pass, const AttentionVolume& v, const MeshShape& shape) {
  const bool forward = pass == Pass::kForward;
  const std::int64_t q_hops = shape.a() - 1;
  const std::int64_t kv_hops = shape.b() - 1;
  KindVolume out{Traffic::kPartialOut};
  KindVolume grad{Traffic::kQueryGrad};
  (forward ? out : grad) = {forward ? Traffic::kPartialOut : Traffic::kQueryGrad, v.partial_sent,
                            v.partial_received, q_hops};
  return {KindVolume{Traffic::kQuery, v.query_sent, v.query_received, q_hops},
          KindVolume{Traffic::kKeyValue, v.key_value_sent, v.key_value_received, kv_hops},
          out,
          grad,
          KindVolume{Traffic::kKeyValueGrad, v.key_value_grad_sent, v.key_value_grad_received,
                     forward ? 0 : kv_hops},
          KindVolume{Traffic::kHeadExchange, v.head_exchange_sent, v.head_exchange_received,
                     2 * std::int64_t{shape.heads - 1}}};
}

/// What is wrong on this rank, or nothing.
std::string difference(Pass pass, const AttentionConfig& config, Communicator& comm) {
  const int rank = comm.rank().value;
  const AttentionVolume volume = attention_volume(pass, config.shape, config.layout, config.dims, rank);
  std::string wrong;
  for (const KindVolume& e : expected_volume(pass, volume, config.shape)) {
    const TrafficCount found = comm.traffic().by_kind(e.kind);
    if (found.bytes_sent == e.sent && found.bytes_received == e.received &&
        found.messages_sent == e.messages && found.messages_received == e.messages) {
      continue;
    }
    wrong += fmt::format(
        "{} rank {} {}: sent {} bytes in {} messages, received {} in {}; expected {}, {}, {} each way\n",
        pass == Pass::kForward ? "forward" : "backward", rank, traffic_name(e.kind), found.bytes_sent,
        found.messages_sent, found.bytes_received, found.messages_received, e.sent, e.received, e.messages);
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

void expect_volumes(const MeshShape& shape, TokenLayout layout, const AttentionDims& dims,
                    int ranks_per_node = 4) {
  AttentionConfig config;
  config.dims = dims;
  config.shape = shape;
  config.layout = layout;
  const support::AttentionInput input = support::random_attention(dims, 1);
  std::string wrong;
  std::int64_t off_node[2] = {0, 0};
  std::mutex mutex;
  run_local_ranks(shape.ranks(), [&](Communicator& comm) {
    support::AttentionRank rank(comm, config, input);
    comm.traffic().reset();
    rank.forward();
    const std::string forward = difference(Pass::kForward, config, comm);
    const std::int64_t forward_off_node = sent_off_node(comm, ranks_per_node);
    comm.traffic().reset();
    rank.backward();
    const std::string backward = difference(Pass::kBackward, config, comm);
    const std::lock_guard lock(mutex);
    wrong += forward + backward;
    off_node[0] += forward_off_node;
    off_node[1] += sent_off_node(comm, ranks_per_node);
  });
  const std::string what = to_string(shape) + " " + std::string(token_layout_name(layout));
  EXPECT_EQ(wrong, "") << what;
  EXPECT_EQ(off_node[0], node_crossing_bytes(Pass::kForward, shape, layout, dims, ranks_per_node)) << what;
  EXPECT_EQ(off_node[1], node_crossing_bytes(Pass::kBackward, shape, layout, dims, ranks_per_node)) << what;
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

class On256Ranks : public ::testing::TestWithParam<const char*> {};

TEST_P(On256Ranks, CountsMatch) {
  expect_volumes(parse_mesh_shape(GetParam()).value(), TokenLayout::kZigzag, {1, 300, 8, 8, 1}, 8);
}

INSTANTIATE_TEST_SUITE_P(Shapes, On256Ranks,
                         ::testing::Values("16x16", "8x32", "(4.8)x8", "u8:4x8", "(2.8)x16", "1x256",
                                           "1x(32.8)", "u8:1x32"));

}  // namespace
}  // namespace tessera::runtime
