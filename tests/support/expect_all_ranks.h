/// EXPECT_ALL_RANKS(comm, condition): one verdict on every rank, so that no rank goes on, or waits, where
/// another has failed. Collective: every rank of `comm` must reach it.
///
///   ASSERT_ALL_RANKS(comm, x == y) << "after step " << step;     // returns from the body on every rank
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/comm/collectives.h"

namespace tessera::test {

inline ::testing::AssertionResult all_ranks(runtime::Communicator& comm, bool mine) {
  const std::byte verdict = mine ? std::byte{1} : std::byte{0};
  const auto verdicts = runtime::all_gather_bytes(comm, {&verdict, 1});
  std::string failed;
  for (std::size_t r = 0; r < verdicts.size(); ++r) {
    if (verdicts[r].at(0) == std::byte{0}) failed.append(" ").append(std::to_string(r));
  }
  if (failed.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "does not hold on rank" << failed << "; this is rank " << comm.rank().value;
}

}  // namespace tessera::test

#define EXPECT_ALL_RANKS(comm, condition) \
  EXPECT_TRUE(::tessera::test::all_ranks(comm, static_cast<bool>(condition))) << #condition
#define ASSERT_ALL_RANKS(comm, condition) \
  ASSERT_TRUE(::tessera::test::all_ranks(comm, static_cast<bool>(condition))) << #condition
