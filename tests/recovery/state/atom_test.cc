#include "recovery/state/atom.h"

#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace tessera::recovery {
namespace {

TEST(Atom, SlicesServeEveryTensorParallelDegreeUpToEight) {
  for (int heads = 1; heads <= 200; ++heads) {
    const int slices = atom_slices(heads);
    EXPECT_EQ(heads % slices, 0) << heads;
    int smallest = 1;  // the least number that all legal degrees divide, by counting up
    const auto serves = [&](int number) {
      for (int degree = 1; degree <= 8; ++degree) {
        if (heads % degree == 0 && number % degree != 0) return false;
      }
      return true;
    };
    while (!serves(smallest)) ++smallest;
    EXPECT_EQ(slices, smallest) << heads;
  }
}

TEST(Atom, TheHeadersExample) {
  const AtomTable table{4, 2, {10, 10, 20, 18, 20, 18, 11, 10}};
  EXPECT_EQ(table.count(), 24);
  const AtomId seven{1, 0, Component::kFirstMoment};
  EXPECT_EQ(table.index(seven), 7);
  EXPECT_EQ(table.at(7), seven);
  EXPECT_EQ(table.bytes(7), 80);
  EXPECT_EQ(table.total_bytes(), 12 * (10 + 10 + 20 + 18 + 20 + 18 + 11 + 10));
  EXPECT_EQ(to_string(seven), "layer 1, slice 0, first_moment");
}

TEST(Atom, IndexIsTheOrderOfTheIds) {
  const AtomTable table{3, 4, std::vector<std::int64_t>(12, 5)};
  std::set<std::string> names;
  for (int i = 0; i < table.count(); ++i) {
    EXPECT_EQ(table.index(table.at(i)), i);
    EXPECT_TRUE(i == 0 || table.at(i - 1) < table.at(i));
    names.insert(to_string(table.at(i)));
  }
  EXPECT_EQ(names.size(), 36U);
}

TEST(Atom, OutsideTheTableIsOurMistake) {
  const AtomTable table{3, 2, std::vector<std::int64_t>(6, 5)};
  EXPECT_DEATH((void)table.index({3, 0, Component::kWeight}), "atom.layer");
  EXPECT_DEATH((void)table.index({0, 2, Component::kWeight}), "atom.slice");
  EXPECT_DEATH((void)table.at(18), "index");
  EXPECT_DEATH((void)table.bytes(-1), "index");
}

TEST(AtomSet, CountsAndUnites) {
  AtomSet a(70);
  AtomSet b(70);
  a.add(0);
  a.add(69);
  b.add(69);
  b.add(64);
  a |= b;
  EXPECT_EQ(a.count(), 3);
  EXPECT_TRUE(a.has(64));
  a.remove(64);
  EXPECT_EQ(a.count(), 2);
  EXPECT_FALSE(a == b);
  EXPECT_DEATH(a |= AtomSet(69), "size");
}

}  // namespace
}  // namespace tessera::recovery
