/// A CPU rank that plays a device slower than its processor, so that a cluster of unequal devices exists on
/// one machine.
///
/// What it does   after each piece of work (a micro-batch's forward or backward pass, the optimizer's update)
///                the rank sleeps until 1 / speed of the processor time that the work took has gone by, waits
///                for other ranks not counted. Nothing of the job's memory is touched: results are the same
///                bit for bit.
/// Shared cores   time in which another process had the core counts as slept. So n ranks on c cores, none
/// faster
///                than c / n, are n devices that hardly disturb each other, though their cores are shared:
///                that is how tests/bench/plan_truth.py makes clusters.
/// Example        speed 0.25, a forward pass that computes for 8 ms and waits for 2 ms ends 34 ms after it
/// began. Accuracy       a piece that ends late, asleep too long or without the core, is made up for by the
/// next ones.
#pragma once

#include <chrono>
#include <cstdint>

#include "algos/base/processor_time.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

class DeviceSpeed {
 public:
  /// Requires 0 < speed <= 1. `comm`: any relative of the communicators that the work waits on; must outlive
  /// this.
  DeviceSpeed(double speed, const Communicator& comm);

  template <class Work>
  void run(const Work& work) {
    const Moment begin = moment();
    work();
    pace(begin);
  }

  [[nodiscard]] double speed() const { return speed_; }
  /// Processor time of the rank's own work; time that went by beyond it.
  [[nodiscard]] double own_s() const { return own_s_; }
  [[nodiscard]] double added_s() const { return added_s_; }

 private:
  struct Moment {
    double processor_s = 0;  // of this thread, without waits
    double wall_s = 0;       // without waits
  };
  [[nodiscard]] Moment moment() const;
  void pace(const Moment& begin);

  double speed_;
  const Communicator& comm_;
  double own_s_ = 0;
  double added_s_ = 0;
  double late_s_ = 0;  // by how much the pieces so far ended too late
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
