#include "runtime/attention/mesh_choice.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "runtime/attention/chunk_mask.h"

namespace tessera::runtime {
namespace {

bool several_nodes(const MeshQuestion& question) {
  return question.ranks_per_node > 0 && question.ranks_per_node < question.ranks &&
         question.ranks % question.ranks_per_node == 0;
}

/// The ring of `size` members, flat, and in inner groups of `inner` where there are several.
std::vector<RingShape> rings(int size, int inner) {
  std::vector<RingShape> all = {{1, size}};
  if (inner > 1 && size > inner && size % inner == 0) all.push_back({size / inner, inner});
  return all;
}

std::vector<MeshShape> candidates_of(const MeshQuestion& question) {
  if (!several_nodes(question)) return all_meshes(question.ranks);
  const int node = question.ranks_per_node;
  std::vector<MeshShape> shapes;
  for (int u = 1; u <= node; ++u) {
    if (node % u != 0 || question.dims.heads % u != 0 || question.dims.kv_heads % u != 0) continue;
    for (const MeshShape& flat : all_meshes(question.ranks / u)) {
      const int a = flat.a();
      // Members of a Q ring are u ranks apart, those of a KV ring a * u.
      const int kv_inner = node % (a * u) == 0 ? node / (a * u) : 1;
      for (const RingShape& q : rings(a, node / u)) {
        for (const RingShape& kv : rings(flat.b(), kv_inner)) shapes.push_back({u, q, kv});
      }
    }
  }
  return shapes;
}

/// Sums of a node's ranks, and the largest of a rank.
struct Load {
  std::int64_t busiest_rank = 0;
  std::int64_t busiest_node = 0;
};

template <class Inside, class Across>
Load load_of(const std::vector<NodeVolume>& volumes, int node, const Inside& inside, const Across& across) {
  Load load;
  std::int64_t leaves = 0;
  for (std::size_t rank = 0; rank < volumes.size(); ++rank) {
    if (rank % static_cast<std::size_t>(node) == 0) leaves = 0;
    leaves += across(volumes[rank]);
    load.busiest_rank = std::max(load.busiest_rank, inside(volumes[rank]));
    load.busiest_node = std::max(load.busiest_node, leaves);
  }
  return load;
}

MeshCandidate evaluate(const MeshQuestion& question, const MeshShape& shape) {
  const bool nodes = several_nodes(question);
  const int node = nodes ? question.ranks_per_node : question.ranks;
  const ChunkMask mask = chunk_mask(shape, question.layout, question.dims.tokens,
                                    {question.causal, question.window, question.dims.batch, {}});
  std::vector<NodeVolume> volumes(static_cast<std::size_t>(question.ranks));
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    const auto one = node_volumes(pass, shape, question.layout, question.dims, mask, node);
    for (std::size_t rank = 0; rank < volumes.size(); ++rank) {
      volumes[rank].inside += one[rank].inside;
      volumes[rank].across += one[rank].across;
      volumes[rank].exchange_inside += one[rank].exchange_inside;
      volumes[rank].exchange_across += one[rank].exchange_across;
    }
  }
  MeshCandidate candidate;
  candidate.shape = shape;
  for (const NodeVolume& volume : volumes) {
    candidate.sent += volume.inside + volume.across;
    candidate.across += volume.across;
  }
  const Load all = load_of(
      volumes, node, [](const NodeVolume& v) { return v.inside; },
      [](const NodeVolume& v) { return v.across; });
  candidate.busiest_rank = all.busiest_rank;
  candidate.busiest_node = all.busiest_node;
  const auto time = [&](const Load& load) {
    return std::max(static_cast<double>(load.busiest_rank) / (question.rank_gb_per_s * 1e9),
                    static_cast<double>(load.busiest_node) / (question.node_gb_per_s * 1e9));
  };
  candidate.seconds = time(load_of(
                          volumes, node, [](const NodeVolume& v) { return v.exchange_inside; },
                          [](const NodeVolume& v) { return v.exchange_across; })) +
                      time(load_of(
                          volumes, node, [](const NodeVolume& v) { return v.inside - v.exchange_inside; },
                          [](const NodeVolume& v) { return v.across - v.exchange_across; }));
  return candidate;
}

}  // namespace

std::vector<MeshCandidate> rank_meshes(const MeshQuestion& question) {
  TS_REQUIRE(question.ranks >= 1 && question.rank_gb_per_s > 0 && question.node_gb_per_s > 0, question.ranks,
             question.rank_gb_per_s, question.node_gb_per_s);
  std::vector<MeshCandidate> candidates;
  for (const MeshShape& shape : candidates_of(question)) candidates.push_back(evaluate(question, shape));
  const bool by_time = several_nodes(question);
  std::stable_sort(candidates.begin(), candidates.end(), [&](const MeshCandidate& x, const MeshCandidate& y) {
    const auto key = [&](const MeshCandidate& c) {
      return std::tuple(by_time ? c.seconds : 0.0, c.sent, c.shape.heads, c.shape.a());
    };
    return key(x) < key(y);
  });
  return candidates;
}

std::string mesh_table(const MeshQuestion& question, const std::vector<MeshCandidate>& candidates,
                       std::size_t rows) {
  if (candidates.empty()) return "";
  constexpr double kMega = 1e6;
  const bool nodes = several_nodes(question);
  const auto mega = [](std::int64_t bytes) { return static_cast<double>(bytes) / kMega; };
  std::string out = fmt::format("{:<14}{:>14}", "mesh", "MB sent, all");
  if (nodes)
    out += fmt::format("{:>16}{:>16}{:>16}{:>12}", "across nodes", "busiest node", "busiest rank", "link ms");
  out += "   (one layer, forward and backward)\n";
  for (std::size_t i = 0; i < std::min(rows, candidates.size()); ++i) {
    const MeshCandidate& c = candidates[i];
    out += fmt::format("{:<14}{:>14.3f}", to_string(c.shape), mega(c.sent));
    if (nodes) {
      out += fmt::format("{:>16.3f}{:>16.3f}{:>16.3f}{:>12.3f}", mega(c.across), mega(c.busiest_node),
                         mega(c.busiest_rank), 1e3 * c.seconds);
    }
    out += '\n';
  }
  if (candidates.size() > rows) out += fmt::format("... and {} more\n", candidates.size() - rows);
  const MeshCandidate& best = candidates.front();
  if (!nodes) {
    return out + fmt::format("chosen: {}, which moves the fewest bytes", to_string(best.shape));
  }
  const double node_s = static_cast<double>(best.busiest_node) / (question.node_gb_per_s * 1e9);
  const double rank_s = static_cast<double>(best.busiest_rank) / (question.rank_gb_per_s * 1e9);
  const bool node = node_s >= rank_s;
  return out + fmt::format("chosen: {}, least time on the links; what {} at {} GB/s takes longest",
                           to_string(best.shape), node ? "leaves a node" : "a rank sends inside its node",
                           node ? question.node_gb_per_s : question.rank_gb_per_s);
}

}  // namespace tessera::runtime
