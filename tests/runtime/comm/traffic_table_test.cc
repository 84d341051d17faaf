#include <set>
#include <string>

#include <gtest/gtest.h>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {
namespace {

TEST(TrafficTable, SumsByKindByPeerAndInAll) {
  TrafficTable table(3);
  table.sent(Rank(0), Traffic::kQuery, 10);
  table.sent(Rank(2), Traffic::kQuery, 20);
  table.sent(Rank(2), Traffic::kControl, 0);
  table.received(Rank(2), Traffic::kGradient, 5);
  EXPECT_EQ(table.by_kind(Traffic::kQuery).bytes_sent, 30);
  EXPECT_EQ(table.by_kind(Traffic::kQuery).messages_sent, 2);
  EXPECT_EQ(table.by_kind(Traffic::kControl).messages_sent, 1);
  EXPECT_EQ(table.by_peer(Rank(2)).bytes_sent, 20);
  EXPECT_EQ(table.by_peer(Rank(2)).bytes_received, 5);
  EXPECT_EQ(table.by_peer(Rank(1)).messages_sent, 0);
  EXPECT_EQ(table.at(Rank(2), Traffic::kQuery).bytes_sent, 20);
  EXPECT_EQ(table.total().bytes_sent, 30);
  EXPECT_EQ(table.total().messages_sent, 3);
  EXPECT_EQ(table.total().messages_received, 1);
  table.reset();
  EXPECT_EQ(table.total().messages_sent, 0);
  EXPECT_EQ(table.total().bytes_received, 0);
}

TEST(TrafficTableDeathTest, RejectsAPeerThatDoesNotExist) {
  TrafficTable table(3);
  EXPECT_DEATH(table.sent(Rank(3), Traffic::kQuery, 1), "peer peers|peer, peers");
}

TEST(Traffic, EveryKindHasItsOwnName) {
  std::set<std::string> names;
  for (int k = 0; k < static_cast<int>(Traffic::kCount); ++k) {
    names.emplace(traffic_name(static_cast<Traffic>(k)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Traffic::kCount));
}

}  // namespace
}  // namespace tessera::runtime
