#include "runtime/attention/tile_assignment.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

/// Every flat and hierarchical shape whose rings split in all ways, up to `limit` super-ranks.
std::vector<MeshShape> shapes_up_to(int limit) {
  std::vector<MeshShape> shapes;
  for (int a = 1; a <= limit; ++a) {
    for (int b = 1; a * b <= limit; ++b) {
      for (int qo = 1; qo <= a; ++qo) {
        for (int ko = 1; ko <= b; ++ko) {
          if (a % qo == 0 && b % ko == 0) shapes.push_back({1, {qo, a / qo}, {ko, b / ko}});
        }
      }
    }
  }
  return shapes;
}

TEST(TileAssignment, ExactCoverAndLocalQKv) {
  int shapes = 0;
  for (int n = 1; n <= 128; ++n) {
    for (const MeshShape& shape : all_meshes(n)) {
      ++shapes;
      const TileAssignment assignment(shape);
      std::vector<int> owner(static_cast<std::size_t>(n) * n, -1);
      for (int g = 0; g < n; ++g) {
        // Local Q-KV: slot 0 of either ring is the rank's own chunk.
        ASSERT_EQ(assignment.row_chunk(g, Row(0)), Chunk(g)) << to_string(shape);
        ASSERT_EQ(assignment.column_chunk(g, Column(0)), Chunk(g)) << to_string(shape);
        std::vector<int> columns;
        for (int q = 0; q < shape.b(); ++q) columns.push_back(assignment.column_chunk(g, Column(q)).value);
        for (int p = 0; p < shape.a(); ++p) {
          const int i = assignment.row_chunk(g, Row(p)).value;
          for (const int j : columns) {
            int& slot = owner[static_cast<std::size_t>(i) * n + j];
            ASSERT_EQ(slot, -1) << "block (" << i << ", " << j << ") of " << to_string(shape)
                                << " has two owners";
            slot = g;
          }
        }
      }
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
          ASSERT_EQ(owner[static_cast<std::size_t>(i) * n + j], assignment.owner(Chunk(i), Chunk(j)));
        }
      }
    }
  }
  EXPECT_EQ(shapes, 645);  // the number of pairs (n, a), n <= 128, a | n
}

TEST(TileAssignment, HierarchicalRingsKeepTheFlatTile) {
  for (const MeshShape& shape : shapes_up_to(48)) {
    const TileAssignment flat(MeshShape::mesh(shape.a(), shape.b()));
    const TileAssignment nested(shape);
    for (int g = 0; g < shape.super_ranks(); ++g) {
      std::set<int> rows, flat_rows, columns, flat_columns;
      for (int p = 0; p < shape.a(); ++p) {
        rows.insert(nested.row_chunk(g, Row(p)).value);
        flat_rows.insert(flat.row_chunk(g, Row(p)).value);
      }
      for (int q = 0; q < shape.b(); ++q) {
        columns.insert(nested.column_chunk(g, Column(q)).value);
        flat_columns.insert(flat.column_chunk(g, Column(q)).value);
      }
      ASSERT_EQ(rows, flat_rows) << to_string(shape);
      ASSERT_EQ(columns, flat_columns) << to_string(shape);
      ASSERT_EQ(nested.row_chunk(g, Row(0)), Chunk(g));
      ASSERT_EQ(nested.column_chunk(g, Column(0)), Chunk(g));
    }
  }
}

TEST(TileAssignment, SourcesLieInsideTheGroups) {
  for (const MeshShape& shape : shapes_up_to(64)) {
    const TileAssignment assignment(shape);
    for (int g = 0; g < shape.super_ranks(); ++g) {
      const auto q_group = assignment.q_group(g);
      const auto kv_group = assignment.kv_group(g);
      ASSERT_EQ(static_cast<int>(q_group.size()), shape.a());
      ASSERT_EQ(static_cast<int>(kv_group.size()), shape.b());
      ASSERT_EQ(q_group[static_cast<std::size_t>(assignment.q_index(g))], g);
      ASSERT_EQ(kv_group[static_cast<std::size_t>(assignment.kv_index(g))], g);
      for (const int peer : q_group) ASSERT_EQ(assignment.q_group(peer), q_group);
      for (const int peer : kv_group) ASSERT_EQ(assignment.kv_group(peer), kv_group);
      for (int p = 0; p < shape.a(); ++p) {
        const int chunk = assignment.row_chunk(g, Row(p)).value;
        ASSERT_NE(std::find(q_group.begin(), q_group.end(), chunk), q_group.end()) << to_string(shape);
      }
      for (int q = 0; q < shape.b(); ++q) {
        const int chunk = assignment.column_chunk(g, Column(q)).value;
        ASSERT_NE(std::find(kv_group.begin(), kv_group.end(), chunk), kv_group.end()) << to_string(shape);
      }
    }
  }
}

TEST(TileAssignment, Example3x3) {
  const TileAssignment assignment(MeshShape::mesh(3, 3));
  // rows, columns, neighbour a row comes from, neighbour a column comes from
  const struct {
    std::set<int> rows, columns;
    int row_from, column_from;
  } expected[9] = {
      {{0, 1, 2}, {0, 3, 6}, 1, 3}, {{0, 1, 2}, {1, 4, 7}, 2, 4}, {{0, 1, 2}, {2, 5, 8}, 0, 5},
      {{3, 4, 5}, {0, 3, 6}, 4, 6}, {{3, 4, 5}, {1, 4, 7}, 5, 7}, {{3, 4, 5}, {2, 5, 8}, 3, 8},
      {{6, 7, 8}, {0, 3, 6}, 7, 0}, {{6, 7, 8}, {1, 4, 7}, 8, 1}, {{6, 7, 8}, {2, 5, 8}, 6, 2},
  };
  for (int g = 0; g < 9; ++g) {
    std::set<int> rows, columns;
    for (int t = 0; t < 3; ++t) {
      rows.insert(assignment.row_chunk(g, Row(t)).value);
      columns.insert(assignment.column_chunk(g, Column(t)).value);
    }
    EXPECT_EQ(rows, expected[g].rows) << g;
    EXPECT_EQ(columns, expected[g].columns) << g;
    const RingHop row = RingPath({1, 3}, assignment.q_index(g)).receive(1);
    const RingHop column = RingPath({1, 3}, assignment.kv_index(g)).receive(1);
    EXPECT_EQ(assignment.q_group(g)[static_cast<std::size_t>(row.from)], expected[g].row_from) << g;
    EXPECT_EQ(assignment.kv_group(g)[static_cast<std::size_t>(column.from)], expected[g].column_from) << g;
  }
}

TEST(TileAssignment, Example2x4) {
  const TileAssignment assignment(MeshShape::mesh(2, 4));
  for (int g = 0; g < 8; ++g) {
    const int first = g / 2 * 2;
    EXPECT_EQ(assignment.q_group(g), (std::vector<int>{first, first + 1}));
    EXPECT_EQ(assignment.kv_group(g), (std::vector<int>{g % 2, 2 + g % 2, 4 + g % 2, 6 + g % 2}));
    std::set<int> columns;
    for (int q = 0; q < 4; ++q) columns.insert(assignment.column_chunk(g, Column(q)).value);
    EXPECT_EQ(columns, g % 2 == 0 ? (std::set<int>{0, 2, 4, 6}) : (std::set<int>{1, 3, 5, 7}));
  }
}

TEST(TileAssignment, WorkedExampleOfTheHeader) {
  const TileAssignment assignment(MeshShape::mesh(4, 3));
  EXPECT_EQ(assignment.kv_index(7), 1);
  EXPECT_EQ(assignment.q_index(7), 3);
  EXPECT_EQ(assignment.q_group(7), (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(assignment.kv_group(7), (std::vector<int>{3, 7, 11}));
  std::vector<int> rows, columns;
  for (int p = 0; p < 4; ++p) rows.push_back(assignment.row_chunk(7, Row(p)).value);
  for (int q = 0; q < 3; ++q) columns.push_back(assignment.column_chunk(7, Column(q)).value);
  EXPECT_EQ(rows, (std::vector<int>{7, 4, 5, 6}));
  EXPECT_EQ(columns, (std::vector<int>{7, 11, 3}));
}

/// One ring, all members, every message carried by hand. Chunks are integers; a partial is the multiset of
/// members that were summed into it.
class RingSimulation {
 public:
  explicit RingSimulation(RingShape shape) : shape_(shape), size_(shape.size()) {
    chunk_.assign(size(), std::vector<int>(size(), -1));
    partial_.assign(size(), std::vector<std::map<int, int>>(size()));
    for (int m = 0; m < size_; ++m) {
      path_.emplace_back(shape, m);
      chunk_[at(m)][0] = m;
    }
  }

  /// One ring shift: every member sends before any member receives.
  void receive(int p) {
    std::map<std::pair<int, int>, int> wire;  // (from, to) -> chunk
    for (int m = 0; m < size_; ++m) {
      const RingHop hop = path_[at(m)].receive(p);
      ASSERT_GE(hop.source_slot, 0);
      ASSERT_LT(hop.source_slot, p) << "a hop may only send what has arrived";
      ASSERT_EQ(crosses(m, hop.to), hop.outer);
      ASSERT_TRUE(wire.emplace(std::pair(m, hop.to), chunk_[at(m)][at(hop.source_slot)]).second);
    }
    for (int m = 0; m < size_; ++m) {
      const RingHop hop = path_[at(m)].receive(p);
      const auto message = wire.find({hop.from, m});
      ASSERT_NE(message, wire.end()) << "member " << m << " waits for a message nobody sends";
      chunk_[at(m)][at(p)] = message->second;
      wire.erase(message);
    }
    ASSERT_TRUE(wire.empty());
  }

  /// The blocks of every row are computed: each member contributes itself once to each chunk it holds.
  void compute() {
    for (int m = 0; m < size_; ++m) {
      for (int p = 0; p < size_; ++p) partial_[at(m)][at(p)][m] += 1;
    }
  }

  void send_back(int k) {
    std::map<std::pair<int, int>, std::pair<int, std::map<int, int>>> wire;  // -> (chunk, partial)
    for (int m = 0; m < size_; ++m) {
      const RingHop hop = path_[at(m)].send_back(k);
      ASSERT_EQ(hop.source_slot, k);
      auto& accumulator = partial_[at(m)][at(k)];
      ASSERT_TRUE(wire.emplace(std::pair(m, hop.to), std::pair(chunk_[at(m)][at(k)], accumulator)).second);
      accumulator.clear();
    }
    for (int m = 0; m < size_; ++m) {
      const RingHop hop = path_[at(m)].send_back(k);
      const auto message = wire.find({hop.from, m});
      ASSERT_NE(message, wire.end());
      const int slot = path_[at(m)].merge_slot(k);
      ASSERT_EQ(chunk_[at(m)][at(slot)], message->second.first) << "merged into another chunk's row";
      for (const auto& [member, times] : message->second.second) partial_[at(m)][at(slot)][member] += times;
      wire.erase(message);
    }
    ASSERT_TRUE(wire.empty());
  }

  [[nodiscard]] const std::vector<std::vector<int>>& chunk() const { return chunk_; }
  [[nodiscard]] const std::map<int, int>& partial(int member, int slot) const {
    return partial_[at(member)][at(slot)];
  }
  [[nodiscard]] const RingPath& path(int member) const { return path_[at(member)]; }

 private:
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(size_); }
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  [[nodiscard]] bool crosses(int x, int y) const {
    return shape_.outer > 1 && (shape_.inner == 1 || x / shape_.inner != y / shape_.inner);
  }

  RingShape shape_;
  int size_;
  std::vector<RingPath> path_;
  std::vector<std::vector<int>> chunk_;
  std::vector<std::vector<std::map<int, int>>> partial_;
};

/// Every order of the sends that merged_before allows, or a cross-section of them on large rings: at each
/// step the choice-th allowed slot, counted from the front (choice >= 0) or from the back.
std::vector<int> send_order(const RingPath& path, int size, int choice) {
  std::vector<int> order;
  std::set<int> left;
  for (int k = 1; k < size; ++k) left.insert(k);
  while (!left.empty()) {
    std::vector<int> allowed;
    for (const int k : left) {
      const auto before = path.merged_before(k);
      if (std::none_of(before.begin(), before.end(), [&](int b) { return left.count(b) > 0; })) {
        allowed.push_back(k);
      }
    }
    if (allowed.empty()) return {};
    const int last = static_cast<int>(allowed.size()) - 1;
    const int k = allowed[static_cast<std::size_t>(choice >= 0 ? std::min(choice, last)
                                                               : std::max(last + choice + 1, 0))];
    order.push_back(k);
    left.erase(k);
  }
  return order;
}

TEST(RingPath, EveryHopByHand) {
  for (int outer = 1; outer <= 6; ++outer) {
    for (int inner = 1; inner <= 6; ++inner) {
      const RingShape shape{outer, inner};
      const int size = shape.size();
      for (const int choice : {0, 1, 2, -1, -2}) {
        SCOPED_TRACE(testing::Message() << outer << " x " << inner << ", choice " << choice);
        RingSimulation ring(shape);
        for (int p = 1; p < size; ++p) ASSERT_NO_FATAL_FAILURE(ring.receive(p));
        for (int m = 0; m < size; ++m) {
          std::set<int> seen;
          for (int p = 0; p < size; ++p) {
            const int chunk = ring.chunk()[static_cast<std::size_t>(m)][static_cast<std::size_t>(p)];
            ASSERT_EQ(chunk, ring.path(m).owner(p));
            // The layout the header promises, written out once more.
            ASSERT_EQ(chunk, (m / inner + p / inner) % outer * inner + (m % inner + p % inner) % inner);
            seen.insert(chunk);
          }
          ASSERT_EQ(static_cast<int>(seen.size()), size) << "each chunk once";
        }
        ring.compute();
        const auto order = send_order(ring.path(0), size, choice);
        ASSERT_EQ(static_cast<int>(order.size()), size - 1);
        for (const int k : order) ASSERT_NO_FATAL_FAILURE(ring.send_back(k));
        for (int m = 0; m < size; ++m) {
          const auto& sum = ring.partial(m, 0);
          ASSERT_EQ(static_cast<int>(sum.size()), size) << "member " << m << " lacks a contribution";
          for (const auto& [member, times] : sum) ASSERT_EQ(times, 1) << member << " was summed twice";
          for (int k = 1; k < size; ++k)
            ASSERT_TRUE(ring.partial(m, k).empty()) << "left behind in slot " << k;
        }
      }
    }
  }
}

TEST(RingPath, MergedBeforeIsExactlyWhatMergesThere) {
  for (int outer = 1; outer <= 6; ++outer) {
    for (int inner = 1; inner <= 6; ++inner) {
      const int size = outer * inner;
      for (int m = 0; m < size; ++m) {
        const RingPath path({outer, inner}, m);
        for (int slot = 0; slot < size; ++slot) {
          std::vector<int> merging;
          for (int k = 1; k < size; ++k) {
            if (path.merge_slot(k) == slot) merging.push_back(k);
          }
          auto before = path.merged_before(slot);
          std::sort(before.begin(), before.end());
          ASSERT_EQ(before, merging) << outer << " x " << inner << ", slot " << slot;
        }
      }
    }
  }
}

TEST(RingPath, DroppingADependencyLosesAContribution) {
  // The order constraint is needed, not only sufficient: shipping a slot before what merges into it leaves a
  // contribution behind.
  RingSimulation ring({2, 3});
  for (int p = 1; p < 6; ++p) ring.receive(p);
  ring.compute();
  for (const int k : {1, 2, 3, 4, 5}) ring.send_back(k);  // 3 is (1, 0): it needs 5 first
  EXPECT_LT(ring.partial(0, 0).size(), 6u);
}

TEST(RingPath, OnlyOuterHopsLeaveAnInnerGroup) {
  for (int outer = 1; outer <= 6; ++outer) {
    for (int inner = 1; inner <= 6; ++inner) {
      for (int m = 0; m < outer * inner; ++m) {
        const RingPath path({outer, inner}, m);
        int leaving = 0;
        for (int p = 1; p < outer * inner; ++p) {
          const RingHop out = path.receive(p);
          const RingHop back = path.send_back(p);
          ASSERT_EQ(out.outer, back.outer);
          ASSERT_EQ(out.from, back.from);  // partials take the links the chunks came by
          ASSERT_EQ(out.to, back.to);
          leaving += out.to / inner != m / inner ? 1 : 0;
        }
        ASSERT_EQ(leaving, outer - 1);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::runtime
