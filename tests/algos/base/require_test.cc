#include "algos/base/require.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(RequireDeathTest, PrintsExpressionAndValues) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int rows = 3;
  EXPECT_DEATH(TS_REQUIRE(rows == 4, rows), "rows == 4.*\n.*rows = 3");
}

TEST(Require, EvaluatesTheExpressionOnce) {
  int calls = 0;
  TS_REQUIRE(++calls == 1, calls);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace tessera
