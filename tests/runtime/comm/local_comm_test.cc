#include "runtime/comm/local_comm.h"

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/collectives.h"
#include "tests/runtime/comm/conformance.h"
#include "tests/support/expect_all_ranks.h"

namespace tessera::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class LocalConformance : public ::testing::TestWithParam<std::tuple<int, test::ConformanceCase>> {};

TEST_P(LocalConformance, Holds) {
  const auto& [ranks, conformance] = GetParam();
  run_local_ranks(ranks, [&conformance = conformance](Communicator& comm) {
    comm.set_deadline(std::chrono::seconds(60));
    conformance.body(comm);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalConformance,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::ValuesIn(test::conformance_cases().begin(),
                                                                test::conformance_cases().end())),
                         [](const auto& info) {
                           return std::string(std::get<1>(info.param).name) + "_on_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(LocalComm, AbortWakesEveryWaitWithItsReason) {
  constexpr int kRanks = 16;
  std::atomic<int> woken = 0;
  const auto start = steady_clock::now();
  run_local_ranks(kRanks, [&](Communicator& comm) {
    if (comm.rank() == Rank(5)) {
      std::this_thread::sleep_for(milliseconds(100));
      comm.abort("disk full");
      return;
    }
    try {
      barrier(comm);
    } catch (const CommError& e) {
      EXPECT_EQ(e.cause(), CommError::Cause::kAborted);
      EXPECT_THAT(e.what(), HasSubstr("disk full"));
      ++woken;
      // The next wait throws as well, even one that could finish.
      std::array<Request, 2> own = {comm.irecv({}, comm.rank(), 0, Traffic::kControl),
                                    comm.isend({}, comm.rank(), 0, Traffic::kControl)};
      EXPECT_THROW(comm.wait_all(own), CommError);
    }
  });
  EXPECT_EQ(woken, kRanks - 1);
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(5));  // far below the default deadline
}

TEST(LocalComm, TheFirstExceptionComesOut) {
  for (const int thrower : {0, 2}) {
    try {
      run_local_ranks(3, [&](Communicator& comm) {
        if (comm.rank().value == thrower) throw std::invalid_argument("the cause");
        std::vector<float> x(100000);
        all_reduce_sum(comm, x, Traffic::kGradient);
      });
      FAIL() << "no exception came out";
    } catch (const std::invalid_argument& e) {
      EXPECT_STREQ(e.what(), "the cause");
    }
  }
}

/// A failed ASSERT_ returns from one rank's body: the others must not wait for it until the deadline.
TEST(LocalComm, WaitForARankThatHasEndedThrowsAtOnce) {
  const auto start = steady_clock::now();
  std::string what;
  try {
    run_local_ranks(2, [](Communicator& comm) {
      if (comm.rank() == Rank(1)) return;
      std::array<std::byte, 8> x{};
      Request receive = comm.irecv(x, Rank(1), 4, Traffic::kControl);
      comm.wait(receive);
    });
  } catch (const CommError& e) {
    what = e.what();
  }
  EXPECT_THAT(what, HasSubstr("receive of 8 bytes from rank 1, tag 4 can never finish: that rank has ended"));
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(5));
}

/// All ranks of the ring stall and time out together; each must name the one that is not in a wait.
TEST(LocalComm, DeadlineNamesTheRankAtTheEndOfTheChain) {
  std::atomic<int> right = 0;
  run_local_ranks(4, [&](Communicator& comm) {
    barrier(comm);
    if (comm.rank() == Rank(2)) {
      std::this_thread::sleep_for(milliseconds(1500));  // computes
      return;
    }
    comm.set_deadline(milliseconds(500));
    std::vector<float> x(4000);
    try {
      all_reduce_sum(comm, x, Traffic::kGradient);
    } catch (const CommError& e) {
      EXPECT_EQ(e.cause(), CommError::Cause::kDeadline);
      const std::string what = e.what();
      EXPECT_THAT(what, HasSubstr("all_reduce of 16000 bytes over 4 ranks"));
      // The others may have timed out themselves and left their wait; the neighbour of 2 cannot err.
      if (comm.rank() == Rank(3)) {
        EXPECT_THAT(what, HasSubstr("Rank 2 is in no wait"));
      }
      ++right;
      std::this_thread::sleep_for(milliseconds(1000));
    }
  });
  EXPECT_EQ(right, 3);
}

TEST(LocalComm, DeadlineOfASplitNamesTheRankThatDidNotCome) {
  std::string what;
  try {
    run_local_ranks(3, [](Communicator& comm) {
      comm.set_deadline(milliseconds(400));
      if (comm.rank() == Rank(1)) {
        std::this_thread::sleep_for(milliseconds(1500));
        return;
      }
      (void)comm.split(0, 0);
    });
  } catch (const CommError& e) {
    what = e.what();
  }
  EXPECT_THAT(what, HasSubstr("split of 3 ranks, to which rank 1 has not come"));
}

/// Two ranks that each wait for the other's message: a circle, said so.
TEST(LocalComm, DeadlineRecognisesADeadlock) {
  std::string what;
  try {
    run_local_ranks(2, [](Communicator& comm) {
      // One deadline is shorter, so that the other rank is still in its wait when asked.
      comm.set_deadline(comm.rank() == Rank(0) ? milliseconds(300) : milliseconds(5000));
      std::array<std::byte, 8> x{};
      Request receive = comm.irecv(x, Rank(1 - comm.rank().value), 4, Traffic::kControl);
      comm.wait(receive);
    });
  } catch (const CommError& e) {
    what = e.what();
  }
  EXPECT_THAT(what, HasSubstr("Rank 1 waits for rank 0: these ranks wait for each other."));
}

TEST(LocalComm, TwoHundredAndFiftySixRanksShareTheMachine) {
  constexpr int kRanks = 256;
  const auto start = steady_clock::now();
  run_local_ranks(kRanks, [](Communicator& comm) {
    barrier(comm);
    std::vector<double> x = {1.0 + comm.rank().value};
    all_reduce(comm, x, Reduction::kSum);
    EXPECT_EQ(x[0], kRanks * (kRanks + 1) / 2);
    std::vector<float> y(1000, 1.0F);
    all_reduce_sum(comm, y, Traffic::kGradient);
    EXPECT_EQ(y, std::vector<float>(1000, kRanks));
    const auto row = comm.split(comm.rank().value / 16, comm.rank().value);
    EXPECT_EQ(row->size(), 16);
    barrier(*row);
  });
  // 1 s on two idle cores. Polling waits would take minutes.
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(30));
}

/// Waiting costs no processor time: 64 ranks wait half a second for one that sleeps.
TEST(LocalComm, WaitingRanksSleep) {
  const std::clock_t before = std::clock();
  run_local_ranks(64, [](Communicator& comm) {
    if (comm.rank() == Rank(0)) std::this_thread::sleep_for(milliseconds(500));
    barrier(comm);
  });
  const double cpu_s = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(cpu_s, 0.25);  // one spinning rank alone would use 0.5 s
}

}  // namespace
}  // namespace tessera::runtime
