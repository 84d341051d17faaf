#include "runtime/schedule/device_speed.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <pthread.h>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/local_comm.h"

namespace tessera::runtime {
namespace {

/// Keeps the thread computing for so much processor time.
void compute(double processor_s) {
  const double end = thread_processor_s() + processor_s;
  volatile double sink = 0;
  while (thread_processor_s() < end) {
    for (int i = 0; i < 1000; ++i) sink = sink + i;
  }
}

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

TEST(DeviceSpeedTest, WorkTakesOneOverSpeedOfItsProcessorTime) {
  run_local_ranks(1, [](Communicator& comm) {
    for (const double speed : {0.5, 0.2}) {
      DeviceSpeed device(speed, comm);
      const double begin = wall_s();
      for (int i = 0; i < 20; ++i) device.run([] { compute(2e-3); });
      const double all = wall_s() - begin;
      EXPECT_GE(device.own_s(), 20 * 2e-3);
      // Never early. Late only by the last sleep, unless another process took more of the core than the
      // device leaves: that is not excluded here.
      EXPECT_GE(all, device.own_s() / speed - 1e-4) << speed;
      EXPECT_NEAR(all, device.own_s() + device.added_s(), 0.05 * all) << speed;
    }
  });
}

TEST(DeviceSpeedTest, ALatePieceIsMadeUpFor) {
  run_local_ranks(1, [](Communicator& comm) {
    DeviceSpeed device(0.1, comm);
    device.run([] {
      compute(1e-3);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));  // the core was another's: 20 ms too late
    });
    const double late = device.own_s() + device.added_s() - device.own_s() / 0.1;
    EXPECT_GT(late, 15e-3);
    for (int i = 0; i < 5; ++i) device.run([] { compute(1e-3); });
    EXPECT_LT(device.own_s() + device.added_s() - device.own_s() / 0.1, late / 2);
  });
}

TEST(DeviceSpeedTest, AtFullSpeedNothingIsAdded) {
  run_local_ranks(1, [](Communicator& comm) {
    DeviceSpeed device(1, comm);
    device.run([] { compute(1e-3); });
    EXPECT_EQ(device.added_s(), 0);
  });
}

TEST(DeviceSpeedTest, WaitingIsNoWork) {
  constexpr double kWork = 5e-3;
  constexpr double kWait = 30e-3;
  std::atomic<bool> begun = false;
  clockid_t waiting_rank{};
  run_local_ranks(2, [&](Communicator& comm) {
    comm.set_busy_wait(true);
    if (comm.rank() == Rank(1)) {
      // Comes when the other rank has worked and spun for so much processor time, however busy the machine
      // is.
      while (!begun) std::this_thread::yield();
      timespec time{};
      const auto spent = [&] {
        clock_gettime(waiting_rank, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
      };
      const double begin = spent();
      while (spent() < begin + kWork + kWait) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      barrier(comm);
      return;
    }
    DeviceSpeed device(0.5, comm);
    pthread_getcpuclockid(pthread_self(), &waiting_rank);
    begun = true;
    device.run([&] {
      compute(kWork);
      barrier(comm);
    });
    EXPECT_GT(comm.waiting_processor_s(), kWait / 2);
    EXPECT_LT(device.own_s(), kWork + kWait / 4);
    // The wait is no part of the piece, so what is added is what the work alone asks for.
    EXPECT_LT(device.added_s(), kWork + kWait / 2);
  });
}

TEST(DeviceSpeedTest, SplitCommunicatorsShareWaitsAndInheritBusyWaiting) {
  run_local_ranks(2, [](Communicator& comm) {
    comm.set_busy_wait(true);
    const auto part = comm.split(0, comm.rank().value);
    EXPECT_TRUE(part->busy_wait());
    const double before = comm.waiting_processor_s();
    if (comm.rank() == Rank(1)) compute(10e-3);
    barrier(*part);
    EXPECT_GT(comm.waiting_processor_s(), before);
  });
}

}  // namespace
}  // namespace tessera::runtime
