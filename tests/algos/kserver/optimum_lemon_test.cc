// The optimum against LEMON's network simplex, beyond the sizes that brute force reaches.
#include <gtest/gtest.h>

#include "algos/kserver/optimum.h"
#include "tests/algos/kserver/instances.h"
#include "tests/algos/kserver/lemon_optimum.h"
#include "tests/algos/kserver/lemon_tables.h"

namespace tessera::kserver {
namespace {

TEST(Optimum, EqualsLemonsNetworkSimplex) {
  test::Random random(61);
  for (int round = 0; round < 48; ++round) {
    const int n = round % 3 == 0 ? 6 : (round % 3 == 1 ? 40 : 400);
    const auto metric = test::random_metric(random, n == 400 ? round % 3 : round % 4, n);
    const int k = 1 + static_cast<int>(test::between(random, 0, 15));
    const Instance instance = test::random_instance(random, *metric, k, 20 + 5 * round);
    const test::LemonTables tables(*metric, instance);
    const std::int64_t expected = tables.solve().cost;
    EXPECT_EQ(optimum(*metric, instance, Form::kDense)->cost, expected) << round;
    EXPECT_EQ(optimum(*metric, instance, Form::kTimeExpanded)->cost, expected) << round;
  }
}

}  // namespace
}  // namespace tessera::kserver
