#include "runtime/train/snapshot_placement.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

using ::testing::HasSubstr;

class SnapshotPlacementTest : public testing::PlanJob {
 protected:
  [[nodiscard]] planner::Plan plan_of(const testing::PlanCase& c) const {
    const std::string path = directory_ + "/plan.json";
    write(c, job(c.tied), path);
    return planner::read_plan(path).value();
  }
  [[nodiscard]] planner::ModelSpec model_of(const testing::PlanCase& c) const {
    return planner::read_model_spec(config(c.tied)).value();
  }

  static PlacementQuestion question(const planner::ModelSpec& model, const planner::Plan& plan,
                                    const std::vector<int>& nodes) {
    PlacementQuestion question;
    question.table = atom_table(model);
    question.ranks = rank_holdings(model, plan, nodes);
    for (int n = 0; n <= *std::ranges::max_element(nodes); ++n) {
      question.nodes.push_back({"node-" + std::to_string(n), n});
    }
    return question;
  }

  /// What must hold of every placement, worked out from the pieces alone.
  static void check(const SnapshotPlacement& placement, const PlacementQuestion& q) {
    const int atoms = q.table.count();
    ASSERT_EQ(std::ssize(placement.holders), atoms);
    std::vector<std::int64_t> kept(q.nodes.size());
    std::vector<std::int64_t> uploaded(q.nodes.size());
    std::map<std::pair<int, int>, std::vector<Piece>> parts;  // of (atom, holder)
    for (const Piece& piece : placement.pieces) parts[{piece.atom, piece.to}].push_back(piece);
    std::size_t held = 0;
    for (int atom = 0; atom < atoms; ++atom) {
      const auto a = static_cast<std::size_t>(atom);
      const std::int64_t bytes = q.table.bytes(atom);
      const std::vector<int>& holders = placement.holders[a];
      if (bytes == 0) {
        EXPECT_TRUE(holders.empty());
        EXPECT_EQ(placement.cloud[a], -1);
        continue;
      }
      std::set<int> nodes;
      for (const int rank : holders) nodes.insert(q.ranks[static_cast<std::size_t>(rank)].node);
      EXPECT_EQ(nodes.size(), holders.size()) << "one holder on a node";
      EXPECT_GE(nodes.size(), std::min<std::size_t>(static_cast<std::size_t>(q.copies), q.nodes.size()));
      EXPECT_NE(std::ranges::find(holders, placement.cloud[a]), holders.end());
      for (const int node : nodes) kept[static_cast<std::size_t>(node)] += bytes;
      uploaded[static_cast<std::size_t>(q.ranks[static_cast<std::size_t>(placement.cloud[a])].node)] += bytes;
      for (const int rank : holders) {
        // Each float once, from a rank that has it.
        std::int64_t at = 0;
        for (const Piece& piece : parts[{atom, rank}]) {
          EXPECT_EQ(piece.begin, at);
          at = piece.end;
          const RankHoldings& from = q.ranks[static_cast<std::size_t>(piece.from)];
          const int block = atom / recovery::kComponents;
          if (q.table.at(atom).component == recovery::Component::kWeight) {
            EXPECT_TRUE(std::ranges::binary_search(from.weights, block));
          } else {
            EXPECT_TRUE(std::ranges::any_of(from.moments, [&](const AtomSpan& span) {
              return span.block == block && span.begin <= piece.begin && piece.end <= span.end;
            }));
          }
        }
        EXPECT_EQ(at * 4, bytes);
        ++held;
      }
    }
    EXPECT_EQ(parts.size(), held) << "nothing is collected that nobody keeps";
    EXPECT_EQ(placement.kept, kept);
    EXPECT_EQ(placement.uploaded, uploaded);
    std::int64_t sum = 0;
    for (const std::int64_t bytes : uploaded) sum += bytes;
    EXPECT_EQ(sum, q.table.total_bytes()) << "the cloud has everything once";
  }

  /// Ranks in order on `count` nodes, as a launcher fills them; and dealt by chance.
  static std::vector<std::vector<int>> node_maps(int ranks) {
    std::vector<std::vector<int>> maps;
    for (int count = 1; count <= std::min(ranks, 4); ++count) {
      std::vector<int> in_order;
      std::vector<int> dealt;
      for (int r = 0; r < ranks; ++r) {
        in_order.push_back(r * count / ranks);
        dealt.push_back(r < count ? r : static_cast<int>(uniform(11, static_cast<std::uint64_t>(r)) * count));
      }
      maps.push_back(in_order);
      maps.push_back(dealt);
    }
    return maps;
  }
};

TEST_F(SnapshotPlacementTest, HoldsForEveryPlan) {
  for (const testing::PlanCase& c : testing::plan_cases()) {
    SCOPED_TRACE(c.name);
    const planner::Plan plan = plan_of(c);
    for (const std::vector<int>& nodes : node_maps(plan.ranks())) {
      PlacementQuestion q = question(model_of(c), plan, nodes);
      const SnapshotPlacement placement = place_snapshot(q);
      check(placement, q);
      // No budget: nothing travels for a weight that two nodes have.
      for (const Piece& piece : placement.pieces) {
        if (q.table.at(piece.atom).component != recovery::Component::kWeight || piece.from == piece.to)
          continue;
        std::set<int> there;
        for (const RankHoldings& rank : q.ranks) {
          if (std::ranges::binary_search(rank.weights, piece.atom / recovery::kComponents)) {
            there.insert(rank.node);
          }
        }
        EXPECT_LT(std::ssize(there), 2) << recovery::to_string(q.table.at(piece.atom));
      }
      // The upload is shared out among the nodes that may share it.
      if (q.nodes.size() == 2) {
        const std::int64_t largest = q.table.bytes(
            static_cast<int>(3 * (std::ranges::max_element(q.table.floats) - q.table.floats.begin())));
        EXPECT_LE(std::abs(placement.uploaded[0] - placement.uploaded[1]), largest);
      }
      for (const int copies : {1, 3}) {
        q.copies = copies;
        check(place_snapshot(q), q);
      }
    }
  }
}

/// Losing every node of a data-parallel group leaves a copy of everything, as each group has nodes of its
/// own.
TEST_F(SnapshotPlacementTest, SurvivesALostGroup) {
  int tried = 0;
  for (const testing::PlanCase& c : testing::plan_cases()) {
    if (c.groups.size() < 2) continue;
    SCOPED_TRACE(c.name);
    const planner::Plan plan = plan_of(c);
    std::vector<int> nodes;
    int node = -1;
    int last_group = -1;
    for (const planner::RankPlace& place : planner::rank_places(plan)) {
      if (place.group != last_group || place.cell + place.tensor == 0) ++node;
      last_group = place.group;
      nodes.push_back(node);
    }
    const PlacementQuestion q = question(model_of(c), plan, nodes);
    const SnapshotPlacement placement = place_snapshot(q);
    check(placement, q);
    for (int lost = 0; lost < std::ssize(c.groups); ++lost) {
      for (int atom = 0; atom < q.table.count(); ++atom) {
        if (q.table.bytes(atom) == 0) continue;
        EXPECT_TRUE(std::ranges::any_of(placement.holders[static_cast<std::size_t>(atom)], [&](int rank) {
          return q.ranks[static_cast<std::size_t>(rank)].group != lost;
        })) << recovery::to_string(q.table.at(atom));
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 0);
}

TEST_F(SnapshotPlacementTest, KeepsCopiesInOtherDomains) {
  const testing::PlanCase& c = testing::plan_cases().front();
  const planner::Plan plan = plan_of({"four", false, 1, "1x1", 1, {{3, {5}}, {3, {5}}, {3, {5}}, {3, {5}}}});
  PlacementQuestion q = question(model_of(c), plan, {0, 1, 2, 3});
  for (std::size_t n = 0; n < 4; ++n) q.nodes[n].domain = static_cast<int>(n / 2);
  const SnapshotPlacement placement = place_snapshot(q);
  check(placement, q);
  for (const std::vector<int>& holders : placement.holders) {
    if (holders.empty()) continue;
    std::set<int> domains;
    for (const int rank : holders) domains.insert(q.nodes[static_cast<std::size_t>(rank)].domain);
    EXPECT_EQ(domains.size(), 2U);
  }
}

TEST_F(SnapshotPlacementTest, SpareMemoryTakesWhatIsThereAndNoMore) {
  const testing::PlanCase& c = testing::plan_cases().front();
  const planner::Plan plan = plan_of({"four", false, 1, "1x1", 1, {{3, {5}}, {3, {5}}, {3, {5}}, {3, {5}}}});
  PlacementQuestion q = question(model_of(c), plan, {0, 1, 2, 3});
  q.copies = 1;
  const std::int64_t total = q.table.total_bytes();
  std::int64_t before = 0;
  for (const std::int64_t budget : {total / 4, total / 3, total / 2, total}) {
    for (SnapshotNode& node : q.nodes) node.budget = budget;
    const SnapshotPlacement placement = place_snapshot(q);
    check(placement, q);
    std::int64_t kept = 0;
    for (const std::int64_t bytes : placement.kept) {
      EXPECT_TRUE(bytes <= budget || budget == total / 4) << "copies come first, whatever the budget";
      kept += bytes;
    }
    EXPECT_GE(kept, before);
    before = kept;
  }
  // With room for everything each of four nodes keeps all weights; of moments, those that are mostly its own.
  EXPECT_GE(before, total + 3 * total / 3);
  EXPECT_LT(before, 4 * total);
  q.spare_copies = 1;
  const SnapshotPlacement spare = place_snapshot(q);
  check(spare, q);
  for (int atom = 0; atom < q.table.count(); ++atom) {
    if (q.table.bytes(atom) == 0) continue;
    EXPECT_GE(spare.holders[static_cast<std::size_t>(atom)].size(), 2U);
  }
}

TEST_F(SnapshotPlacementTest, IsTheSameEachTimeAndPrints) {
  for (const testing::PlanCase& c : testing::plan_cases()) {
    const planner::Plan plan = plan_of(c);
    const PlacementQuestion q = question(model_of(c), plan, node_maps(plan.ranks()).back());
    const SnapshotPlacement a = place_snapshot(q);
    const SnapshotPlacement b = place_snapshot(q);
    EXPECT_EQ(a.holders, b.holders);
    EXPECT_EQ(a.pieces, b.pieces);
    EXPECT_EQ(a.cloud, b.cloud);
    EXPECT_THAT(to_text(a, q), HasSubstr("node-0"));
  }
}

}  // namespace
}  // namespace tessera::runtime
