#include "runtime/schedule/device_speed.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <pthread.h>
#include <thread>

#include <gtest/gtest.h>

#include "kernels/gemm/gemm.h"
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

TEST(DeviceSpeedTest, AddsKernelsUntilTheRankIsAsSlowAsItShould) {
  run_local_ranks(1, [](Communicator& comm) {
    for (const double speed : {0.75, 0.5, 0.2}) {
      DeviceSpeed device(speed, comm, 128);
      const double begin = thread_processor_s();
      for (int i = 0; i < 20; ++i) device.run([] { compute(2e-3); });
      const double all = thread_processor_s() - begin;
      // What is owed is paid to within one product of 64 x 128 x 128, 0.1 ms or less; all but loop overhead
      // is in the two sums.
      EXPECT_NEAR(device.added_s() / device.own_s(), 1 / speed - 1, 0.05 / speed) << speed;
      EXPECT_GE(device.own_s(), 20 * 2e-3);
      EXPECT_NEAR(all, device.own_s() + device.added_s(), 0.1 * all) << speed;
    }
  });
}

TEST(DeviceSpeedTest, AtFullSpeedNothingIsAdded) {
  run_local_ranks(1, [](Communicator& comm) {
    DeviceSpeed device(1, comm, 64);
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
    DeviceSpeed device(0.5, comm, 64);
    pthread_getcpuclockid(pthread_self(), &waiting_rank);
    begun = true;
    device.run([&] {
      compute(kWork);
      barrier(comm);
    });
    EXPECT_GT(comm.waiting_processor_s(), kWait / 2);
    EXPECT_LT(device.own_s(), kWork + kWait / 4);
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
