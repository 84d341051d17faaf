#include "runtime/comm/peer_channel.h"

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/local_comm.h"
#include "tests/support/expect_all_ranks.h"

namespace tessera::runtime {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(i * 31 + static_cast<std::size_t>(seed));
  return bytes;
}

TEST(PeerChannel, EveryPairInOrderEachMessageAwaitedByItself) {
  run_local_ranks(4, [](Communicator& comm) {
    PeerChannel peers(comm);
    constexpr int kMessages = 20;
    std::vector<std::vector<std::byte>> sent;
    std::vector<std::vector<std::byte>> received;
    std::vector<recovery::PeerExchange::Ticket> tickets;
    sent.reserve(100);
    received.reserve(100);
    for (int other = 0; other < comm.size(); ++other) {
      for (int i = 0; i < kMessages; ++i) {
        const auto size = static_cast<std::size_t>(i * 1000 + other);
        received.emplace_back(static_cast<std::size_t>(i * 1000 + comm.rank().value));
        tickets.push_back(peers.start_receive(other, received.back()));
        sent.push_back(pattern(size, comm.rank().value + i));
        tickets.push_back(peers.start_send(other, sent.back()));
      }
    }
    // Backwards: being done does not depend on the order of asking.
    for (auto ticket = tickets.rbegin(); ticket != tickets.rend(); ++ticket) {
      while (!peers.done(*ticket)) std::this_thread::yield();
    }
    bool right = peers.poll();
    for (int other = 0; other < comm.size(); ++other) {
      for (int i = 0; i < kMessages; ++i) {
        const auto& got = received[static_cast<std::size_t>(other * kMessages + i)];
        right = right && got == pattern(got.size(), other + i);
      }
    }
    for (const auto ticket : tickets) right = right && peers.done(ticket);
    EXPECT_ALL_RANKS(comm, right);
    std::int64_t bytes = 0;
    for (const auto& message : sent) bytes += static_cast<std::int64_t>(message.size());
    EXPECT_ALL_RANKS(comm, comm.traffic().by_kind(Traffic::kRecovery).bytes_sent == bytes);
  });
}

TEST(PeerChannel, GathersBytesOfDifferentLengths) {
  run_local_ranks(3, [](Communicator& comm) {
    PeerChannel peers(comm);
    const auto all =
        peers.all_gather(pattern(static_cast<std::size_t>(10 * comm.rank().value), comm.rank().value));
    bool right = all.size() == 3;
    for (int r = 0; r < 3; ++r)
      right = right && all[static_cast<std::size_t>(r)] == pattern(static_cast<std::size_t>(10 * r), r);
    EXPECT_ALL_RANKS(comm, right);
    EXPECT_ALL_RANKS(comm, peers.rank() == comm.rank().value && peers.size() == 3);
  });
}

TEST(PeerChannel, FinishWaitsForAll) {
  run_local_ranks(2, [](Communicator& comm) {
    PeerChannel peers(comm);
    const int other = 1 - peers.rank();
    std::vector<std::byte> got(5000);
    const auto mine = pattern(5000, peers.rank());
    const auto first = peers.start_receive(other, got);
    if (peers.rank() == 1) std::this_thread::sleep_for(milliseconds(50));
    peers.start_send(other, mine);
    peers.finish();
    EXPECT_ALL_RANKS(comm, got == pattern(5000, other));
    EXPECT_ALL_RANKS(comm, peers.poll() && peers.done(first));
  });
}

/// A rank that asks without ever blocking still learns of the deadline, and of who holds it up.
TEST(PeerChannel, AskingEndsAtTheDeadline) {
  const auto begin = std::chrono::steady_clock::now();
  std::string what;
  try {
    run_local_ranks(2, [](Communicator& comm) {
      comm.set_deadline(milliseconds(200));
      if (comm.rank() == Rank(1)) {
        std::this_thread::sleep_for(milliseconds(1500));
        return;
      }
      std::array<std::byte, 8> got{};
      PeerChannel peers(comm);  // after its buffers, so that it lets go of them first
      const auto ticket = peers.start_receive(1, got);
      try {
        while (!peers.done(ticket)) std::this_thread::sleep_for(milliseconds(1));
      } catch (...) {
        peers.abandon();
        throw;
      }
    });
  } catch (const CommError& e) {
    EXPECT_EQ(e.cause(), CommError::Cause::kDeadline);
    what = e.what();
  }
  EXPECT_THAT(what, HasSubstr("receive of 8 bytes from rank 1"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

/// Messages of others go on while one does not: no deadline passes as long as something moves.
TEST(PeerChannel, OneSlowMessageAmongOthersIsNoFailure) {
  run_local_ranks(2, [](Communicator& comm) {
    comm.set_deadline(milliseconds(400));
    PeerChannel peers(comm);
    constexpr int kMessages = 8;  // 100 ms apart: twice the deadline
    std::array<std::byte, kMessages> bytes{};
    if (comm.rank() == Rank(0)) {
      for (int i = 0; i < kMessages; ++i) {
        std::this_thread::sleep_for(milliseconds(100));
        peers.start_send(1, {&bytes[static_cast<std::size_t>(i)], 1});
      }
    } else {
      std::vector<recovery::PeerExchange::Ticket> tickets;
      for (std::byte& byte : bytes) tickets.push_back(peers.start_receive(0, {&byte, 1}));
      while (!peers.done(tickets.back())) std::this_thread::sleep_for(milliseconds(1));
    }
    peers.finish();
  });
}

TEST(PeerChannel, AFailureElsewhereEndsTheAsking) {
  EXPECT_THROW(
      run_local_ranks(3,
                      [](Communicator& comm) {
                        if (comm.rank() == Rank(2)) throw std::runtime_error("dies");
                        std::array<std::byte, 8> got{};
                        PeerChannel peers(comm);  // after its buffers, so that it lets go of them first
                        const auto ticket = peers.start_receive(2, got);
                        while (!peers.done(ticket)) std::this_thread::sleep_for(milliseconds(1));
                      }),
      std::runtime_error);
}

}  // namespace
}  // namespace tessera::runtime
