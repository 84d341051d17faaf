#include "algos/base/status.h"

#include <memory>

#include <gtest/gtest.h>

namespace tessera {
namespace {

Result<int> half(int x) {
  if (x % 2 != 0) return bad_input({"numbers.json", "x", std::to_string(x), "an even integer", "double it"});
  return x / 2;
}

Result<int> quarter(int x) {
  const int h = TS_TRY(half(x));
  return half(h);
}

Status check(int x) {
  TS_TRY(quarter(x));
  return {};
}

TEST(Status, ResultCarriesAValueOrAReason) {
  EXPECT_EQ(quarter(12).value(), 3);
  const auto failed = quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(failed.status().message(),
            "numbers.json: x\n  found     3\n  expected  an even integer\n  remedy    double it");
}

TEST(Status, TryPassesFailureThroughStatus) {
  EXPECT_TRUE(check(8).ok());
  EXPECT_FALSE(check(7).ok());
}

TEST(Status, EmptyFieldsLeaveNoLine) {
  EXPECT_EQ(bad_input({"--steps", "", "", "a number", ""}).message(), "--steps\n  expected  a number");
}

TEST(Status, TryMovesMoveOnlyValues) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto use = [&]() -> Result<int> {
    const std::unique_ptr<int> p = TS_TRY(make());
    return *p;
  };
  EXPECT_EQ(use().value(), 7);
}

TEST(Status, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    EXPECT_NE(code_name(static_cast<Code>(code)), "unknown") << code;
  }
}

}  // namespace
}  // namespace tessera
