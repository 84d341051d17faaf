/// A CPU rank that plays a device slower than its processor, so that a cluster of unequal devices exists on
/// one machine.
///
/// What it does   after each piece of work (a micro-batch's forward or backward pass, the optimizer's update)
///                the rank runs matrix products of its model's width, into memory of its own, until its
///                processor time is 1 / speed of what the work itself took. Nothing sleeps, nothing of the
///                job's memory is touched: results are the same bit for bit.
/// Calibration    by the thread's processor time, so that it holds on a shared core; a product too much is
///                owed to the next piece of work. What the rank spent waiting for others is no work.
/// Example        speed 0.25, a forward pass of 10 ms of which 2 ms were waits: 24 ms of products follow.
/// Memory         at most 1.3 MB, whatever the model; none at speed 1.
#pragma once

#include <cstdint>

#include "algos/base/processor_time.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

class DeviceSpeed {
 public:
  /// Requires 0 < speed <= 1. `comm`: any relative of the communicators that the work waits on; must outlive
  /// this. `width`: of the model.
  DeviceSpeed(double speed, const Communicator& comm, std::int64_t width);

  template <class Work>
  void run(const Work& work) {
    const double begin = work_processor_s();
    work();
    repeat(work_processor_s() - begin);
  }

  [[nodiscard]] double speed() const { return speed_; }
  /// Of the rank's own work, and of the products added to it.
  [[nodiscard]] double own_s() const { return own_s_; }
  [[nodiscard]] double added_s() const { return added_s_; }

 private:
  [[nodiscard]] double work_processor_s() const { return thread_processor_s() - comm_.waiting_processor_s(); }
  void repeat(double own_s);
  void product();

  double speed_;
  const Communicator& comm_;
  std::int64_t width_;
  kernels::Buffer<float> a_;
  kernels::Buffer<float> b_;
  kernels::Buffer<float> c_;
  double own_s_ = 0;
  double added_s_ = 0;
};

/// With null, the work alone.
template <class Work>
void slowed(DeviceSpeed* speed, const Work& work) {
  if (speed == nullptr) {
    work();
  } else {
    speed->run(work);
  }
}

}  // namespace tessera::runtime
