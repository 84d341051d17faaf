#include "runtime/train/snapshot_placement.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "algos/knapsack/knapsack.h"
#include "runtime/train/plan_shards.h"

namespace tessera::runtime {
namespace {

using recovery::AtomId;
using recovery::Component;

/// A part of a block's moments and who has it.
struct OwnedSpan {
  AtomSpan span;
  int rank = 0;
};

class Placing {
 public:
  explicit Placing(const PlacementQuestion& question)
      : q_(question),
        blocks_(q_.table.layers * q_.table.slices),
        weights_(static_cast<std::size_t>(blocks_)),
        moments_(static_cast<std::size_t>(blocks_)),
        groups_(q_.nodes.size()),
        rank_kept_(q_.ranks.size()),
        rank_uploaded_(q_.ranks.size()),
        rank_sent_(q_.ranks.size()) {
    const auto atoms = static_cast<std::size_t>(q_.table.count());
    placement_.holders.resize(atoms);
    placement_.cloud.assign(atoms, -1);
    placement_.kept.assign(q_.nodes.size(), 0);
    placement_.uploaded.assign(q_.nodes.size(), 0);
    for (std::size_t r = 0; r < q_.ranks.size(); ++r) {
      const RankHoldings& rank = q_.ranks[r];
      const auto node = static_cast<std::size_t>(rank.node);
      TS_REQUIRE(node < q_.nodes.size(), rank.node, q_.nodes.size());
      groups_[node].push_back(rank.group);
      for (const int block : rank.weights) weights_[index(block)].push_back(static_cast<int>(r));
      for (const AtomSpan& span : rank.moments) {
        moments_[index(span.block)].push_back({span, static_cast<int>(r)});
      }
    }
    for (std::vector<int>& groups : groups_) {
      std::ranges::sort(groups);
      groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    }
    for (auto& owners : moments_) {
      std::ranges::sort(owners, {}, [](const OwnedSpan& owned) { return owned.span; });
    }
    by_size_.resize(atoms);
    std::iota(by_size_.begin(), by_size_.end(), 0);
    std::ranges::stable_sort(by_size_, std::greater(), [&](int atom) { return q_.table.bytes(atom); });
    std::erase_if(by_size_, [&](int atom) { return q_.table.bytes(atom) == 0; });
  }

  SnapshotPlacement place() {
    const int copies = std::min<int>(std::max(q_.copies, 1), static_cast<int>(q_.nodes.size()));
    for (const int atom : by_size_) {
      for (int copy = 0; copy < copies; ++copy) keep(atom, next_node(atom));
    }
    for (std::size_t node = 0; node < q_.nodes.size(); ++node)
      fill(static_cast<int>(node), Wanted::kAtHome, std::numeric_limits<int>::max());
    if (q_.spare_copies > 0) {
      for (std::size_t node = 0; node < q_.nodes.size(); ++node) {
        fill(static_cast<int>(node), Wanted::kAny, copies + q_.spare_copies);
      }
    }
    for (const int atom : by_size_) upload(atom);
    for (int atom = 0; atom < q_.table.count(); ++atom) collect(atom);
    std::ranges::sort(placement_.pieces, {},
                      [](const Piece& piece) { return std::tuple(piece.to, piece.atom, piece.begin); });
    return std::move(placement_);
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  [[nodiscard]] int block_of(int atom) const { return atom / recovery::kComponents; }
  [[nodiscard]] bool is_weight(int atom) const { return q_.table.at(atom).component == Component::kWeight; }
  [[nodiscard]] int node_of(int rank) const { return q_.ranks[index(rank)].node; }
  [[nodiscard]] bool kept_on(int atom, int node) const {
    return std::ranges::any_of(placement_.holders[index(atom)],
                               [&](int rank) { return node_of(rank) == node; });
  }

  /// Bytes of the atom that the rank, or a rank of the node, has.
  [[nodiscard]] std::int64_t bytes_at(int atom, const auto& is_there) const {
    if (is_weight(atom)) {
      return std::ranges::any_of(weights_[index(block_of(atom))], is_there) ? q_.table.bytes(atom) : 0;
    }
    std::int64_t floats = 0;
    for (const OwnedSpan& owned : moments_[index(block_of(atom))]) {
      if (is_there(owned.rank)) floats += owned.span.end - owned.span.begin;
    }
    return floats * 4;
  }
  [[nodiscard]] std::int64_t bytes_on_node(int atom, int node) const {
    return bytes_at(atom, [&](int rank) { return node_of(rank) == node; });
  }
  /// In eighths, so that shares that differ by a rounding count as equal.
  [[nodiscard]] std::int64_t eighths(int atom, std::int64_t bytes) const {
    return 8 * bytes / q_.table.bytes(atom);
  }

  int next_node(int atom) {
    const std::vector<int>& holders = placement_.holders[index(atom)];
    std::tuple<bool, bool, std::int64_t, std::int64_t, std::int64_t> best;
    int chosen = -1;
    for (int node = 0; node < static_cast<int>(q_.nodes.size()); ++node) {
      if (kept_on(atom, node) || groups_[index(node)].empty()) continue;
      bool other_domain = true;
      bool other_groups = true;
      for (const int rank : holders) {
        const auto holder = index(node_of(rank));
        if (q_.nodes[holder].domain == q_.nodes[index(node)].domain) other_domain = false;
        std::vector<int> common;
        std::ranges::set_intersection(groups_[holder], groups_[index(node)], std::back_inserter(common));
        if (!common.empty()) other_groups = false;
      }
      const std::int64_t kept = placement_.kept[index(node)];
      const bool room = kept + q_.table.bytes(atom) <= q_.nodes[index(node)].budget;
      const std::int64_t there = eighths(atom, bytes_on_node(atom, node));
      const std::int64_t apart = other_groups ? 1 : 0;
      const bool weight = is_weight(atom);
      const std::tuple value(other_domain, room, weight ? there : apart, weight ? apart : there, -kept);
      if (chosen >= 0 && value <= best) continue;
      best = value;
      chosen = node;
    }
    return chosen;
  }

  void keep(int atom, int node) {
    if (node < 0) return;
    int chosen = -1;
    std::pair<std::int64_t, std::int64_t> best;
    for (int rank = 0; rank < static_cast<int>(q_.ranks.size()); ++rank) {
      if (node_of(rank) != node) continue;
      const std::int64_t there = bytes_at(atom, [&](int other) { return other == rank; });
      const std::pair value(eighths(atom, there), -rank_kept_[index(rank)]);
      if (chosen >= 0 && value <= best) continue;
      best = value;
      chosen = rank;
    }
    placement_.holders[index(atom)].push_back(chosen);
    placement_.kept[index(node)] += q_.table.bytes(atom);
    rank_kept_[index(chosen)] += q_.table.bytes(atom);
  }

  enum class Wanted : std::uint8_t { kAtHome, kAny };  // at least half of it is on the node; whatever it is
  /// Further atoms for the room a node has left: of those that fewer than `most_copies` nodes keep.
  void fill(int node, Wanted wanted, int most_copies) {
    std::int64_t room = q_.nodes[index(node)].budget - placement_.kept[index(node)];
    if (room <= 0 || groups_[index(node)].empty()) return;
    std::vector<int> atoms;
    std::vector<knapsack::Item> items;
    std::int64_t sum = 0;
    for (const int atom : by_size_) {
      const std::int64_t bytes = q_.table.bytes(atom);
      const auto copies = static_cast<std::int64_t>(placement_.holders[index(atom)].size());
      if (kept_on(atom, node) || copies >= most_copies) continue;
      const std::int64_t there = bytes_on_node(atom, node);
      if (wanted == Wanted::kAtHome && 2 * there < bytes) continue;
      atoms.push_back(atom);
      items.push_back({wanted == Wanted::kAtHome ? there : bytes / copies, bytes});
      sum += bytes;
    }
    if (sum <= room) {
      for (const int atom : atoms) keep(atom, node);
      return;
    }
    constexpr knapsack::Limits kBrief{.max_states = 1 << 10, .max_work = 1 << 20};
    const Result<knapsack::Selection> selection = knapsack::solve(items, room, kBrief);
    TS_REQUIRE(selection.ok(), selection.status().message());
    for (const std::uint32_t item : selection.value().items) keep(atoms[item], node);
  }

  void upload(int atom) {
    const auto least = std::ranges::min_element(placement_.holders[index(atom)], {}, [&](int rank) {
      return std::tuple(placement_.uploaded[index(node_of(rank))], rank_uploaded_[index(rank)], rank);
    });
    placement_.cloud[index(atom)] = *least;
    placement_.uploaded[index(node_of(*least))] += q_.table.bytes(atom);
    rank_uploaded_[index(*least)] += q_.table.bytes(atom);
  }

  /// Where each holder of the atom gets it from.
  void collect(int atom) {
    const std::int64_t floats = q_.table.bytes(atom) / 4;
    for (const int to : placement_.holders[index(atom)]) {
      if (!is_weight(atom)) {
        for (const OwnedSpan& owned : moments_[index(block_of(atom))]) {
          placement_.pieces.push_back({atom, owned.span.begin, owned.span.end, owned.rank, to});
        }
        continue;
      }
      const std::vector<int>& replicas = weights_[index(block_of(atom))];
      TS_REQUIRE(!replicas.empty(), atom);
      // Itself, else a rank of its node, else whoever has sent least.
      const int from = *std::ranges::min_element(replicas, {}, [&](int rank) {
        return std::tuple(rank != to, node_of(rank) != node_of(to), rank_sent_[index(rank)], rank);
      });
      if (from != to) rank_sent_[index(from)] += floats;
      placement_.pieces.push_back({atom, 0, floats, from, to});
    }
  }

  const PlacementQuestion& q_;
  int blocks_;
  std::vector<std::vector<int>> weights_;        // by block: ranks that have it whole
  std::vector<std::vector<OwnedSpan>> moments_;  // by block
  std::vector<std::vector<int>> groups_;         // by node, rising
  std::vector<std::int64_t> rank_kept_;
  std::vector<std::int64_t> rank_uploaded_;
  std::vector<std::int64_t> rank_sent_;  // floats of weights
  std::vector<int> by_size_;             // atoms that are not empty, the largest first
  SnapshotPlacement placement_;
};

}  // namespace

std::vector<RankHoldings> rank_holdings(const planner::ModelSpec& model, const planner::Plan& plan,
                                        const std::vector<int>& nodes) {
  const recovery::AtomTable table = atom_table(model);
  const std::vector<planner::RankPlace> places = planner::rank_places(plan);
  TS_REQUIRE(places.size() == nodes.size(), places.size(), nodes.size());
  std::vector<RankHoldings> ranks;
  for (std::size_t r = 0; r < places.size(); ++r) {
    RankHoldings rank;
    rank.node = nodes[r];
    rank.group = places[r].group;
    const ModelSlice slice = slice_of(plan, places[r]);
    for (int block = 0; block < table.layers * table.slices; ++block) {
      if (table.floats[static_cast<std::size_t>(block)] > 0 &&
          holds_block(table, slice, model.tie_word_embeddings, block)) {
        rank.weights.push_back(block);
      }
    }
    rank.moments = covered(rank_state(model, plan, places[r]).saved_moments);
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

std::int64_t SnapshotPlacement::travelling() const {
  std::int64_t bytes = 0;
  for (const Piece& piece : pieces) {
    if (piece.from != piece.to) bytes += piece.bytes();
  }
  return bytes;
}

SnapshotPlacement place_snapshot(const PlacementQuestion& question) { return Placing(question).place(); }

std::string to_text(const SnapshotPlacement& placement, const PlacementQuestion& question) {
  std::vector<std::int64_t> received(question.nodes.size());
  for (const Piece& piece : placement.pieces) {
    const int from = question.ranks[static_cast<std::size_t>(piece.from)].node;
    const int to = question.ranks[static_cast<std::size_t>(piece.to)].node;
    if (from != to) received[static_cast<std::size_t>(to)] += piece.bytes();
  }
  std::size_t fewest = question.nodes.size();
  for (int atom = 0; atom < question.table.count(); ++atom) {
    if (question.table.bytes(atom) == 0) continue;
    fewest = std::min(fewest, placement.holders[static_cast<std::size_t>(atom)].size());
  }
  constexpr double kMega = 1e6;
  std::string text = fmt::format("a snapshot is {:.1f} MB in {} atoms, each on {} of {} nodes at least\n",
                                 static_cast<double>(question.table.total_bytes()) / kMega,
                                 question.table.count(), fewest, question.nodes.size());
  text += fmt::format("{:<24}{:>12}{:>20}{:>14}\n", "node", "keeps MB", "from other nodes", "uploads MB");
  for (std::size_t n = 0; n < question.nodes.size(); ++n) {
    text +=
        fmt::format("{:<24}{:>12.1f}{:>20.1f}{:>14.1f}\n", question.nodes[n].name,
                    static_cast<double>(placement.kept[n]) / kMega, static_cast<double>(received[n]) / kMega,
                    static_cast<double>(placement.uploaded[n]) / kMega);
  }
  return text;
}

}  // namespace tessera::runtime
